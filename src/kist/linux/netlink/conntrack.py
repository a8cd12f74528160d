"""Forgetting connections: the kernel's connection tracker keeps sending a UDP flow where its first packet went,
for as long as the flow goes on. When a port gets another container behind it, such flows must be forgotten.

    request   | family u8 | version u8 | resource u16 | attributes: the original direction's tuple |
    answer    the same header, then per connection
              CTA_TUPLE_ORIG (1) { CTA_TUPLE_IP (1) { src, dst }, CTA_TUPLE_PROTO (2) { number, ports } }
              CTA_TUPLE_REPLY (2) { … }

Source: linux/netfilter/nfnetlink_conntrack.h (Linux 6.1).
"""

from __future__ import annotations

import os
import socket
import struct
from collections import namedtuple

from kist.linux.netlink import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NamedTuple

NETLINK_NETFILTER = 12
CT_GET, CT_DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_…
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY = 1, 2
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
SOURCES = {1: socket.AF_INET, 3: socket.AF_INET6}  # CTA_IP_V4_SRC, CTA_IP_V6_SRC
NFGENMSG = struct.Struct("=BBH")
BUFFER = 65536

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


class Conntrack:
    """The socket for it. It belongs to the network namespace of the thread that made it. One user at a time.

    Keep it: closing it waits for nftables, as with `nfelements.Elements`."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def forget(self, which: Callable[[Connection], bool]) -> int:
        """Delete the connections that `which` chooses; how many they were."""
        return sum(self._delete(connection) for connection in self._dump() if which(connection))

    def _dump(self) -> list[Connection]:
        """Both families at once: what costs is that the kernel looks into each bucket of its table. A kernel that
        can't be asked has nothing to forget."""
        header = NFGENMSG.pack(socket.AF_UNSPEC, 0, 0)
        found: list[Connection] = []
        try:
            for answer in self._ask(wire.Request(CT_GET, wire.NLM_F_DUMP, header, ""), ack=False):
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
            list(self._ask(wire.Request(CT_DELETE, 0, body, "")))
        except PermissionError:
            raise
        except OSError:
            return False
        return True

    def _ask(self, request: wire.Request, *, ack: bool = True) -> Iterator[wire.Message]:
        """The answers, up to the last one, which says whether it went well."""
        self._sequence += 1
        self._socket.send(wire.message(request, self._sequence, ack=ack))
        while True:
            for answer in wire.messages(self._socket.recv(BUFFER)):
                if answer.sequence != self._sequence:
                    continue  # an answer to something that was given up earlier
                if answer.type not in (wire.NLMSG_DONE, wire.NLMSG_ERROR):
                    yield answer
                    continue
                code, _ = wire.error_of(answer)
                if code:
                    raise OSError(code, os.strerror(code), "connection tracker")
                return


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
