"""The rtnetlink wire format: messages, attributes, and what the kernel answers. Pure.

A datagram holds one or more messages, each padded to 4 bytes; numbers are in the host's byte order:

    nlmsghdr   | length u32 | type u16 | flags u16 | sequence u32 | port u32 |
    body       | family header (ifinfomsg, ifaddrmsg, rtmsg, ndmsg) | attributes … |
    attribute  | length u16 | type u16 | value … | padding to 4 |        (nested: the value holds attributes)

An error answer (type 2) carries `errno i32 | the request's nlmsghdr | its body unless capped | attributes`;
attribute 1 is the kernel's own sentence about what was wrong. errno 0 is the acknowledgement.

Sources: netlink(7), rtnetlink(7), linux/netlink.h, linux/rtnetlink.h, linux/if_link.h (Linux 6.1).
"""

from __future__ import annotations

import socket
import struct
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NamedTuple

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
IFINFOMSG = struct.Struct("=BxHiII")  # family, hardware type, index, flags, mask of flags to change
IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst length, src length, tos, table, protocol, scope, type, flags
TCMSG = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWQDISC = 36
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30

NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK = 0x1, 0x2, 0x4
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # in error answers
NLMSGERR_ATTR_MSG = 1

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_NET_NS_PID, IFLA_IFALIAS, IFLA_NET_NS_FD = 16, 18, 19, 20, 28
IFLA_EXT_MASK, IFLA_LINK_NETNSID = 29, 37
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 3, 4, 8
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_TABLE = 1, 4, 5, 6, 7, 8, 15
RTAX_MTU = 2
NDA_DST, NDA_LLADDR = 1, 2

NESTED = 0x8000
TYPE_MASK = 0x3FFF  # without the NESTED and NET_BYTEORDER bits
IFF_UP = 0x1


if TYPE_CHECKING:

    class Request(NamedTuple):
        """One thing to ask of the kernel; `words` names it in an error (`add route 10.0.0.0/8`)."""

        type: int
        flags: int
        body: bytes
        words: str

    class Message(NamedTuple):
        type: int
        flags: int
        sequence: int
        body: memoryview

    class Link(NamedTuple):
        """A network device. `address` is `02:42:…` or "", `peer` the index of a veth's other end or of
        a macvlan's parent (0: none), `netnsid` the kernel's id of the namespace `peer` is in (-1: this one)."""

        index: int  # type: ignore[assignment]
        name: str
        kind: str
        flags: int
        mtu: int
        address: str
        master: int
        peer: int
        netnsid: int
        alias: str

    class Address(NamedTuple):
        index: int  # type: ignore[assignment]
        family: int
        address: str
        prefixlen: int
        scope: int

    class Route(NamedTuple):
        """`dst` is "" for a default route; `table` 254 is the main table; `type` 1 is unicast."""

        family: int
        dst: str
        prefixlen: int
        gateway: str
        index: int  # type: ignore[assignment]
        table: int
        type: int
        priority: int

    class Neighbour(NamedTuple):
        index: int  # type: ignore[assignment]
        family: int
        address: str
        lladdr: str
        state: int

else:
    Request = namedtuple("Request", "type flags body words")
    Message = namedtuple("Message", "type flags sequence body")
    Link = namedtuple("Link", "index name kind flags mtu address master peer netnsid alias")
    Address = namedtuple("Address", "index family address prefixlen scope")
    Route = namedtuple("Route", "family dst prefixlen gateway index table type priority")
    Neighbour = namedtuple("Neighbour", "index family address lladdr state")


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *children: bytes) -> bytes:
    """An attribute that holds attributes (already encoded)."""
    return attribute(kind | NESTED, b"".join(children))


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, bytes((value,)))


def u16(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=H", value))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def packed(address: str) -> bytes:
    """The 4 or 16 bytes of an IP address; ValueError when it is none."""
    try:
        return socket.inet_pton(family_of(address), address)
    except OSError:
        raise ValueError(f"invalid IP address: {address}") from None


def mac_bytes(address: str) -> bytes:
    """`02:42:0a:58:00:02` as six bytes; ValueError when it is none."""
    parts = address.split(":")
    if len(parts) != 6 or not all(1 <= len(part) <= 2 for part in parts):
        raise ValueError(f"invalid MAC address: {address}")
    return bytes(int(part, 16) for part in parts)


def message(request: Request, sequence: int, *, ack: bool = True) -> bytes:
    """The request as it goes to the kernel."""
    flags = request.flags | NLM_F_REQUEST | (NLM_F_ACK if ack else 0)
    body = request.body
    return HEADER.pack(16 + len(body), request.type, flags, sequence, 0) + body + bytes(-len(body) % 4)


def messages(datagram: bytes | memoryview) -> Iterator[Message]:
    """The messages of one datagram; a length that leaves the datagram is a ValueError."""
    view = memoryview(datagram)
    offset = 0
    while offset < len(view):
        if len(view) - offset < 16:
            raise ValueError("netlink: truncated message header")
        length, kind, flags, sequence, _ = HEADER.unpack_from(view, offset)
        if not 16 <= length <= len(view) - offset:
            raise ValueError(f"netlink: message of {length} bytes in {len(view) - offset}")
        yield Message(kind, flags, sequence, view[offset + 16 : offset + length])
        offset += (length + 3) & ~3


def attributes(data: bytes | memoryview, offset: int = 0) -> dict[int, memoryview]:
    """The attributes that start at `offset`, by type (the last one wins, as in the kernel)."""
    view = memoryview(data)
    found: dict[int, memoryview] = {}
    while len(view) - offset >= 4:
        length, kind = ATTRIBUTE.unpack_from(view, offset)
        if not 4 <= length <= len(view) - offset:
            raise ValueError(f"netlink: attribute of {length} bytes in {len(view) - offset}")
        found[kind & TYPE_MASK] = view[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def error_of(answer: Message) -> tuple[int, str]:
    """(errno, the kernel's sentence or "") of an error answer; errno 0 acknowledges.

    NLMSG_DONE ends a dump with the same errno in front."""
    code = -int.from_bytes(answer.body[:4], "little" if _LITTLE else "big", signed=True)
    if answer.type != NLMSG_ERROR or not answer.flags & NLM_F_ACK_TLVS:
        return code, ""
    request_length = int(HEADER.unpack_from(answer.body, 4)[0])
    capped = bool(answer.flags & NLM_F_CAPPED)
    offset = 4 + 16 if capped else 4 + ((request_length + 3) & ~3)
    sentence = attributes(answer.body, offset).get(NLMSGERR_ATTR_MSG)
    return code, _string(sentence)


def parse_link(body: memoryview) -> Link:
    _, _, index, flags, _ = IFINFOMSG.unpack_from(body)
    found = attributes(body, IFINFOMSG.size)
    info = attributes(found[IFLA_LINKINFO]) if IFLA_LINKINFO in found else {}
    mac = found.get(IFLA_ADDRESS)
    return Link(
        index, _string(found.get(IFLA_IFNAME)), _string(info.get(IFLA_INFO_KIND)), flags, _number(found.get(IFLA_MTU)),
        bytes(mac).hex(":") if mac is not None else "", _number(found.get(IFLA_MASTER)),
        _number(found.get(IFLA_LINK)), _signed(found.get(IFLA_LINK_NETNSID)), _string(found.get(IFLA_IFALIAS)),
    )


def parse_address(body: memoryview) -> Address:
    family, prefixlen, _, scope, index = IFADDRMSG.unpack_from(body)
    found = attributes(body, IFADDRMSG.size)
    # rtnetlink(7): IFA_ADDRESS is the peer's address on point-to-point links, IFA_LOCAL is ours.
    value = found.get(IFA_LOCAL, found.get(IFA_ADDRESS))
    return Address(index, family, _ip(family, value), prefixlen, scope)


def parse_route(body: memoryview) -> Route:
    family, prefixlen, _, _, table, _, _, kind, _ = RTMSG.unpack_from(body)
    found = attributes(body, RTMSG.size)
    table = _number(found.get(RTA_TABLE)) or table
    return Route(family, _ip(family, found.get(RTA_DST)), prefixlen, _ip(family, found.get(RTA_GATEWAY)),
                 _number(found.get(RTA_OIF)), table, kind, _number(found.get(RTA_PRIORITY)))


def parse_neighbour(body: memoryview) -> Neighbour:
    family, index, state, _, _ = NDMSG.unpack_from(body)
    found = attributes(body, NDMSG.size)
    mac = found.get(NDA_LLADDR)
    return Neighbour(index, family, _ip(family, found.get(NDA_DST)), bytes(mac).hex(":") if mac is not None else "",
                     state)


_LITTLE = struct.pack("=H", 1) == b"\x01\x00"


def _string(value: memoryview | None) -> str:
    return bytes(value).rstrip(b"\0").decode("utf-8", "replace") if value is not None else ""


def _number(value: memoryview | None) -> int:
    return int(struct.unpack_from("=I", value)[0]) if value is not None else 0


def _signed(value: memoryview | None) -> int:
    return int(struct.unpack_from("=i", value)[0]) if value is not None else -1


def _ip(family: int, value: memoryview | None) -> str:
    if value is None or family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    return socket.inet_ntop(family, value)
