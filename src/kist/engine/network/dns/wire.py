"""DNS messages: reading a question, writing an answer. Pure.

    header    | id u16 | flags u16 | questions u16 | answers u16 | authority u16 | additional u16 |
    question  | name | type u16 | class u16 |         name: (length u8, label)… 0
    record    | name (0xc00c: "as in the question") | type u16 | class u16 | ttl u32 | length u16 | data |

Only what a stub resolver's question needs is read; all else goes to another resolver byte for byte.
Source: RFC 1035 §4.1, RFC 3596 (AAAA).
"""

from __future__ import annotations

import socket
import struct
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple

HEADER = struct.Struct("!HHHHHH")
TYPE_CLASS = struct.Struct("!HH")
RECORD = struct.Struct("!HHHIH")
A, PTR, AAAA = 1, 12, 28
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP = 0, 1, 2, 3, 4
QR, OPCODE, AA, TC, RD, RA = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100, 0x0080
SAME_NAME = 0xC00C
TTL = 5  # seconds: a container that starts again may have another address

if TYPE_CHECKING:

    class Question(NamedTuple):
        """`name` in lower case without the last dot; `raw` is the question section as it came."""

        id: int
        flags: int
        name: str
        type: int
        klass: int
        raw: bytes

else:
    Question = namedtuple("Question", "id flags name type klass raw")


def parse(data: bytes) -> Question:
    """The question of a query; ValueError for anything else (answers too, lest two resolvers talk forever)."""
    if len(data) < 12:
        raise ValueError("short message")
    identity, flags, questions, _, _, _ = HEADER.unpack_from(data)
    if flags & QR or questions != 1:
        raise ValueError("not a query with one question")
    labels = []
    offset = 12
    while True:
        length = data[offset] if offset < len(data) else 64
        offset += 1
        if length == 0:
            break
        if length > 63 or offset + length > len(data) or offset > 12 + 255:
            raise ValueError("bad name")
        labels.append(data[offset : offset + length])
        offset += length
    if offset + 4 > len(data):
        raise ValueError("short question")
    kind, klass = TYPE_CLASS.unpack_from(data, offset)
    name = b".".join(labels).decode("latin-1").lower()
    return Question(identity, flags, name, kind, klass, data[12 : offset + 4])


def answer(question: Question, records: Iterable[bytes] = (), code: int = NOERROR) -> bytes:
    """The reply to a question of ours; the additional section (EDNS) is not answered, which RFC 6891 §7 allows."""
    found = list(records)
    flags = QR | AA | RA | question.flags & (OPCODE | RD) | code
    return HEADER.pack(question.id, flags, 1, len(found), 0, 0) + question.raw + b"".join(found)


def udp_size(query: bytes, question: Question) -> int:
    """How large an answer by UDP may be: 512 bytes (RFC 1035 §2.3.4), or what the query says that it takes, in the OPT
    record (RFC 6891 §6.1.2: the root's name, type 41, the size in place of the class)."""
    at = 12 + len(question.raw)
    if query[10:12] == b"\0\x01" and query[at : at + 3] == b"\0\0\x29" and len(query) >= at + 11:
        return max(512, query[at + 3] << 8 | query[at + 4])
    return 512


def fitting(reply: bytes, question: Question, size: int) -> bytes:
    """The reply with as many of its records (which are all of one length) as fit; TC tells the asker to come by TCP."""
    if len(reply) <= size:
        return reply
    identity, flags, questions, count, _, _ = HEADER.unpack_from(reply)
    start = 12 + len(question.raw)
    length = (len(reply) - start) // count
    kept = max(size - start, 0) // length
    return HEADER.pack(identity, flags | TC, questions, kept, 0, 0) + reply[12 : start + kept * length]


def refusal(data: bytes, code: int) -> bytes:
    """A reply without a question, for a query that can't be read."""
    identity, flags = struct.unpack_from("!HH", data)
    return HEADER.pack(identity, QR | RA | flags & (OPCODE | RD) | code, 0, 0, 0, 0)


def address_record(address: str) -> bytes:
    """An A or AAAA record for the name of the question."""
    kind, family = (AAAA, socket.AF_INET6) if ":" in address else (A, socket.AF_INET)
    data = socket.inet_pton(family, address)
    return RECORD.pack(SAME_NAME, kind, IN, TTL, len(data)) + data


def pointer_record(name: str) -> bytes:
    data = encode_name(name)
    return RECORD.pack(SAME_NAME, PTR, IN, TTL, len(data)) + data


def encode_name(name: str) -> bytes:
    """ValueError for what is no name: RFC 1035 §2.3.4 has a label of 1 to 63 bytes, and 255 for the whole."""
    encoded = b""
    for label in name.encode().split(b"."):
        if not 0 < len(label) < 64:
            raise ValueError(f"bad name {name!r}")
        encoded += bytes((len(label),)) + label
    if len(encoded) > 254:
        raise ValueError(f"bad name {name!r}")
    return encoded + b"\0"


def folded(name: str) -> str:
    """As the name of a question is read: case doesn't count, bytes that aren't ASCII are what they are (UTF-8)."""
    return name.encode().decode("latin-1").lower()


def can_be_said(name: str) -> bool:
    try:
        encode_name(name)
    except ValueError:
        return False
    return True


def reverse_address(name: str) -> str:
    """The address that `2.0.88.10.in-addr.arpa` or an `ip6.arpa` name asks for; "" when it is no such name."""
    labels = name.split(".")
    try:
        if name.endswith(".in-addr.arpa") and len(labels) == 6:
            return socket.inet_ntop(socket.AF_INET, bytes(int(label) for label in reversed(labels[:4])))
        if name.endswith(".ip6.arpa") and len(labels) == 34:
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex("".join(reversed(labels[:32]))))
    except ValueError:
        pass
    return ""
