"""Elements of nftables sets and maps, added and deleted by netlink: what each start and end of a container does.

libnftables reads all tables of the machine into its cache before it changes an element of one; here a change costs
the same whatever else is there. A datagram is one transaction:

    nlmsghdr | NFNL_MSG_BATCH_BEGIN | nfgenmsg: family u8, version u8, NFNL_SUBSYS_NFTABLES u16 big-endian
    nlmsghdr | NFT_MSG_NEWSETELEM or …DELSETELEM | nfgenmsg: the table's family | attributes:
               NFTA_SET_ELEM_LIST_TABLE (1), …_SET (2), …_ELEMENTS (3) {
                   NFTA_LIST_ELEM (1) { NFTA_SET_ELEM_KEY (1) { NFTA_DATA_VALUE (1) }, …_DATA (2) { … } } … }
    …
    nlmsghdr | NFNL_MSG_BATCH_END | nfgenmsg as above

A key or a map's data of several parts (`ifname . ether_addr`) has each part padded to 4 bytes; a single part is not.

Sources: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h, net/netfilter/nfnetlink.c (Linux 6.1), and what
`nft --debug=netlink,mnl` shows.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import namedtuple

from kist.linux.netlink import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import NamedTuple

NETLINK_NETFILTER, SOL_NETLINK, NETLINK_CAP_ACK = 12, 270, 10
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM = NFNL_SUBSYS_NFTABLES << 8 | 12, NFNL_SUBSYS_NFTABLES << 8 | 14
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
LIST_ELEM = ELEM_KEY = DATA_VALUE = 1
ELEM_DATA = 2
FAMILIES = {"inet": 1, "ip": 2, "bridge": 7, "ip6": 10}
NFGENMSG = struct.Struct(">BBH")
BUFFER = 65536
LARGEST_BUFFER = 8 << 20  # a limit, not an allocation: ten thousand ports in one transaction
MESSAGE = 256  # elements in one message: far below an attribute's 64 KiB

if TYPE_CHECKING:

    class Element(NamedTuple):
        """An element to add or delete. `key` and `data` (maps only; not needed to delete) are parts of
        (nftables type, value): `(("ifname", "kv01"), ("ipv4_addr", "10.88.0.2"))`."""

        add: bool
        family: str
        table: str
        set: str
        key: tuple[tuple[str, str], ...]
        data: tuple[tuple[str, str], ...] = ()

else:
    Element = namedtuple("Element", "add family table set key data", defaults=((),))

ENCODE: dict[str, Callable[[str], bytes]] = {
    "ifname": lambda value: _fixed(value.encode(), 16),
    "ether_addr": wire.mac_bytes,
    "ipv4_addr": lambda value: socket.inet_pton(socket.AF_INET, value),
    "ipv6_addr": lambda value: socket.inet_pton(socket.AF_INET6, value),
    "nd_target": lambda value: socket.inet_pton(socket.AF_INET6, value),  # as it lies in a packet (@th,64,128)
    "inet_proto": lambda value: int(value).to_bytes(1, "big"),
    "inet_service": lambda value: int(value).to_bytes(2, "big"),
}


class Elements:
    """The socket for it. It belongs to the network namespace of the thread that made it. One user at a time.

    Keep it: whoever closes such a socket waits until the kernel has freed what was deleted (10 ms and more)."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        except OSError as error:
            if error.errno == errno.EPROTONOSUPPORT:
                raise OSError(error.errno, "the kernel has no nftables: load the module nf_tables") from None
            raise
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            self._socket.setsockopt(socket.SOL_SOCKET, option, LARGEST_BUFFER)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Elements:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def change(self, elements: Iterable[Element]) -> None:
        """Carry out all of it in one transaction, in this order. What is to be deleted and isn't there is passed over.

        The first refusal is raised as OSError(errno, the kernel's words, the elements); then nothing has changed."""
        groups = grouped(elements)
        while groups:
            failed = self._send(groups)
            if not failed:
                return
            groups = without_missing(groups, failed)

    def _send(self, groups: Sequence[Sequence[Element]]) -> dict[int, int]:
        """Send the transaction; the errno of each group that was refused (-1: the transaction as a whole)."""
        first = self._sequence + 1
        self._sequence += len(groups) + 2
        self._socket.send(batch(groups, first))
        failed: dict[int, int] = {}
        waiting = len(groups)
        while waiting:
            for answer in wire.messages(self._socket.recv(BUFFER)):
                number = answer.sequence - first - 1
                if answer.type != wire.NLMSG_ERROR or not -1 <= number < len(groups):
                    continue  # an answer to something that was given up earlier
                code, _ = wire.error_of(answer)
                if number < 0:  # not begun (EPERM) or not carried out: more answers may follow, or none
                    return {-1: code}
                waiting -= 1
                if code:
                    failed[number] = code
        return failed


def grouped(elements: Iterable[Element]) -> list[list[Element]]:
    """What goes into one message: neighbours of one set, all added or all deleted."""
    groups: list[list[Element]] = []
    for element in elements:
        if groups and groups[-1][0][:4] == element[:4] and len(groups[-1]) < MESSAGE:
            groups[-1].append(element)
        else:
            groups.append([element])
    return groups


def without_missing(groups: Sequence[list[Element]], failed: dict[int, int]) -> list[list[Element]]:
    """What to try again, by the errno of each group that failed (-1: the batch itself). Deletions of what isn't
    there are left out; which of a group they are isn't known, so they are tried one by one. All else is raised."""
    for number, code in failed.items():
        if code != errno.ENOENT or number < 0 or groups[number][0].add:
            raise OSError(code, os.strerror(code), words(groups[max(number, 0)]))
    again: list[list[Element]] = []
    for number, group in enumerate(groups):
        if number not in failed:
            again.append(group)
        elif len(group) > 1:
            again += [[element] for element in group]
    return again


def words(group: Sequence[Element]) -> str:
    """`add element ip kist port { tcp … }`, for an error."""
    first = group[0]
    shown = ", ".join(" . ".join(value for _, value in element.key) for element in group[:3])
    more = ", …" if len(group) > 3 else ""
    return f"{'add' if first.add else 'delete'} element {first.family} {first.table} {first.set} {{ {shown}{more} }}"


def batch(groups: Sequence[Sequence[Element]], first: int) -> bytes:
    """The transaction's datagram; `first` is the sequence number of its beginning."""
    bounds = NFGENMSG.pack(0, 0, NFNL_SUBSYS_NFTABLES)
    parts = [wire.message(wire.Request(NFNL_MSG_BATCH_BEGIN, 0, bounds, ""), first, ack=False)]
    parts += [wire.message(_request(group), first + number) for number, group in enumerate(groups, 1)]
    end = wire.Request(NFNL_MSG_BATCH_END, 0, bounds, "")
    return b"".join([*parts, wire.message(end, first + len(groups) + 1, ack=False)])


def value_of(parts: Sequence[tuple[str, str]]) -> bytes:
    """A key's or a map's data's bytes."""
    encoded = [ENCODE[kind](value) for kind, value in parts]
    return encoded[0] if len(encoded) == 1 else b"".join(_fixed(one, (len(one) + 3) & ~3) for one in encoded)


def _request(group: Sequence[Element]) -> wire.Request:
    first = group[0]
    body = (
        NFGENMSG.pack(FAMILIES[first.family], 0, 0)
        + wire.text(LIST_TABLE, first.table) + wire.text(LIST_SET, first.set)
        + wire.nested(LIST_ELEMENTS, *(wire.nested(LIST_ELEM, *_element(element)) for element in group))
    )
    if first.add:
        return wire.Request(NFT_MSG_NEWSETELEM, wire.NLM_F_CREATE, body, "")
    return wire.Request(NFT_MSG_DELSETELEM, 0, body, "")


def _element(element: Element) -> Iterator[bytes]:
    yield wire.nested(ELEM_KEY, wire.attribute(DATA_VALUE, value_of(element.key)))
    if element.data and element.add:
        yield wire.nested(ELEM_DATA, wire.attribute(DATA_VALUE, value_of(element.data)))


def _fixed(value: bytes, length: int) -> bytes:
    if len(value) > length:
        raise ValueError(f"longer than {length} bytes: {value!r}")
    return value + bytes(length - len(value))
