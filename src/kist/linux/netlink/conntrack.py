"""Forgetting connections: the kernel's connection tracker keeps sending a UDP flow where its first packet went,
for as long as the flow goes on. When a port gets another container behind it, such flows must be forgotten.

    request   | family u8 | version u8 | resource u16 | attributes: the original direction's tuple |
    answer    the same header, then per connection
              CTA_TUPLE_ORIG (1) { CTA_TUPLE_IP (1) { src, dst }, CTA_TUPLE_PROTO (2) { number, ports } }
              CTA_TUPLE_REPLY (2) { … }

Source: linux/netfilter/nfnetlink_conntrack.h (Linux 6.1).
"""

from __future__ import annotations

import socket
from collections import namedtuple

from kist.linux.netlink import wire
from kist.linux.netlink.nfnetlink import NFGENMSG, Nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NamedTuple

CT_GET, CT_DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_…
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY = 1, 2
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
SOURCES = {1: socket.AF_INET, 3: socket.AF_INET6}  # CTA_IP_V4_SRC, CTA_IP_V6_SRC

if TYPE_CHECKING:

    class Connection(NamedTuple):
        """`port` is where the first packet was sent to, `answers` the address that answers it."""

        family: int
        protocol: int
        port: int
        answers: str
        original: bytes

else:
    Connection = namedtuple("Connection", "family protocol port answers original")


class Conntrack(Nfnetlink):
    """The socket for it."""

    __slots__ = ()

    def forget(self, which: Callable[[Connection], bool]) -> int:
        """Delete the connections that `which` chooses; how many they were."""
        return sum(self._delete(connection) for connection in self._dump() if which(connection))

    def _dump(self) -> list[Connection]:
        """Both families at once: what costs is that the kernel looks into each bucket of its table. A kernel that
        can't be asked has nothing to forget."""
        header = NFGENMSG.pack(socket.AF_UNSPEC, 0, 0)
        found: list[Connection] = []
        try:
            for answer in self.ask(wire.Request(CT_GET, wire.NLM_F_DUMP, header, "")):
                connection = parse(answer.body)
                if connection is not None:
                    found.append(connection)
        except OSError:
            pass
        return found

    def _delete(self, connection: Connection) -> bool:
        """False when it ended by itself meanwhile."""
        body = NFGENMSG.pack(connection.family, 0, 0) + wire.nested(CTA_TUPLE_ORIG, connection.original)
        try:
            list(self.ask(wire.Request(CT_DELETE, 0, body, "connection tracker")))
        except PermissionError:
            raise
        except OSError:
            return False
        return True


def parse(body: memoryview) -> Connection | None:
    """The connection of one answer; None for one without ports (ICMP)."""
    family = body[0]
    tuples = wire.attributes(body, NFGENMSG.size)
    original, reply = wire.attributes(tuples[CTA_TUPLE_ORIG]), wire.attributes(tuples[CTA_TUPLE_REPLY])
    protocol = wire.attributes(original[CTA_TUPLE_PROTO])
    if CTA_PROTO_DST_PORT not in protocol:
        return None
    addresses = wire.attributes(reply[CTA_TUPLE_IP])
    answers = next((socket.inet_ntop(kind, addresses[number]) for number, kind in SOURCES.items()
                    if number in addresses), "")
    port = int.from_bytes(protocol[CTA_PROTO_DST_PORT], "big")
    return Connection(family, protocol[CTA_PROTO_NUM][0], port, answers, bytes(tuples[CTA_TUPLE_ORIG]))
