"""Elements of nftables sets and maps, added and deleted by netlink: what each start and end of a container does.

libnftables reads all tables of the machine into its cache before it changes an element of one; here a change costs
the same whatever else is there. A message of a transaction (nfnetlink.py):

    nlmsghdr | NFT_MSG_NEWSETELEM or …DELSETELEM | nfgenmsg: the table's family | attributes:
               NFTA_SET_ELEM_LIST_TABLE (1), …_SET (2), …_ELEMENTS (3) {
                   NFTA_LIST_ELEM (1) { NFTA_SET_ELEM_KEY (1) { NFTA_DATA_VALUE (1) }, …_DATA (2) { … },
                                        …_KEY_END (10) { … } } … }

A key or a map's data of several parts (`ifname . ether_addr`) has each part padded to 4 bytes; a single part is not.
In a set of intervals, an element is all keys from its key up to its end, each part by itself.

Sources: linux/netfilter/nf_tables.h (Linux 6.1), and what `nft --debug=netlink,mnl` shows.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import namedtuple

from kist.linux.netlink import wire
from kist.linux.netlink.nfnetlink import FAMILIES, NFGENMSG, NFNL_SUBSYS_NFTABLES, Nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import NamedTuple

NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM = NFNL_SUBSYS_NFTABLES << 8 | 12, NFNL_SUBSYS_NFTABLES << 8 | 14
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
LIST_ELEM = ELEM_KEY = DATA_VALUE = 1
ELEM_DATA, ELEM_KEY_END = 2, 10
MESSAGE = 256  # elements in one message: far below an attribute's 64 KiB

if TYPE_CHECKING:

    class Element(NamedTuple):
        """An element to add or delete. `key` and `data` (maps only; not needed to delete) are parts of
        (nftables type, value): `(("ifname", "kv01"), ("ipv4_addr", "10.88.0.2"))`; `end` are those of the last key
        (sets of intervals only)."""

        add: bool
        family: str
        table: str
        set: str
        key: tuple[tuple[str, str], ...]
        data: tuple[tuple[str, str], ...] = ()
        end: tuple[tuple[str, str], ...] = ()

else:
    Element = namedtuple("Element", "add family table set key data end", defaults=((), ()))

ENCODE: dict[str, Callable[[str], bytes]] = {
    "ifname": lambda value: _fixed(value.encode(), 16),
    "ether_addr": wire.mac_bytes,
    "ipv4_addr": lambda value: socket.inet_pton(socket.AF_INET, value),
    "ipv6_addr": lambda value: socket.inet_pton(socket.AF_INET6, value),
    "nd_target": lambda value: socket.inet_pton(socket.AF_INET6, value),  # as it lies in a packet (@th,64,128)
    "inet_proto": lambda value: int(value).to_bytes(1, "big"),
    "inet_service": lambda value: int(value).to_bytes(2, "big"),
}


class Elements(Nfnetlink):
    """The socket for it."""

    __slots__ = ()

    def change(self, elements: Iterable[Element]) -> None:
        """Carry out all of it in one transaction, in this order. What is to be deleted and isn't there is passed over.

        The first refusal is raised as OSError(errno, the kernel's words, the elements); then nothing has changed."""
        groups = grouped(elements)
        while groups:
            failed = self._send([_request(group) for group in groups])
            if not failed:
                return
            groups = without_missing(groups, failed)


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


def requests(elements: Iterable[Element]) -> list[wire.Request]:
    """The same as a part of a larger transaction (`Nfnetlink.commit`), with the words for an error."""
    return [_request(group)._replace(words=words(group)) for group in grouped(elements)]


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
    if element.end:
        yield wire.nested(ELEM_KEY_END, wire.attribute(DATA_VALUE, value_of(element.end)))
    if element.data and element.add:
        yield wire.nested(ELEM_DATA, wire.attribute(DATA_VALUE, value_of(element.data)))


def _fixed(value: bytes, length: int) -> bytes:
    if len(value) > length:
        raise ValueError(f"longer than {length} bytes: {value!r}")
    return value + bytes(length - len(value))
