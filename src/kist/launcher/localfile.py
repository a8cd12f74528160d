"""The records of the log driver "local", as Docker's: smaller than JSON, and any bytes are themselves. Pure but `mend`.

::

    length, 4 bytes, big end │ LogEntry, protobuf │ length again       (so a reader can go backwards)

    LogEntry (moby api/types/plugins/logdriver/entry.proto):
        1 source      string   "stdout" or "stderr"
        2 time_nano   int64    nanoseconds since the epoch
        3 line        bytes    without its newline; left out when empty
        4 partial     bool     a piece of a line: no newline follows it
        5 …                    what Docker notes of the pieces; Kist writes none
"""

from __future__ import annotations

import os

SOURCE, TIME, LINE, PARTIAL = b"\x0a", b"\x10", b"\x1a", b"\x20\x01"  # field numbers and wire types
FRAME = 4


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class LocalRecords:
    """Encodes runs and pieces (see lines.py) as records."""

    __slots__ = ()

    def lines(self, run: bytes, stream: str, stamp: int) -> bytes:
        """The records of a run of whole lines. Lines of one length share all but their text."""
        fixed = _fixed(stream, stamp)
        heads: dict[int, tuple[bytes, bytes]] = {}
        out: list[bytes] = []
        for line in run[:-1].split(b"\n"):
            size = len(line)
            try:
                head, frame = heads[size]
            except KeyError:
                head, frame = heads[size] = _around(fixed, size, b"")
            out += (head, line, frame)
        return b"".join(out)

    def piece(self, piece: bytes, stream: str, stamp: int) -> bytes:
        """The record of a piece of a line."""
        head, frame = _around(_fixed(stream, stamp), len(piece), PARTIAL)
        return head + piece + PARTIAL + frame


def _fixed(stream: str, stamp: int) -> bytes:
    return SOURCE + varint(len(stream)) + stream.encode() + TIME + varint(stamp)


def _around(fixed: bytes, size: int, after: bytes) -> tuple[bytes, bytes]:
    """What stands before a line of that size, and the length behind it."""
    body = fixed + (LINE + varint(size) if size else b"")
    frame = (len(body) + size + len(after)).to_bytes(FRAME, "big")
    return frame + body, frame


def border(records: bytes, at: int, end: int) -> int:
    """The end of the last whole record before ``end``, or of the first one if that is longer."""
    cut = _following(records, at)
    while cut < len(records) and (following := _following(records, cut)) <= end:
        cut = following
    return cut


def _following(records: bytes, at: int) -> int:
    return at + 2 * FRAME + int.from_bytes(records[at : at + FRAME], "big")


def mend(fd: int) -> None:
    """Cut off half a record that a power cut left at a file's end. Raises OSError."""
    size = os.lseek(fd, 0, os.SEEK_END)
    if size and not _ends_well(fd, size):
        os.ftruncate(fd, _whole(fd, size))


def _ends_well(fd: int, size: int) -> bool:
    last = os.pread(fd, FRAME, max(0, size - FRAME))
    start = size - 2 * FRAME - int.from_bytes(last, "big")
    return start >= 0 and os.pread(fd, FRAME, start) == last


def _whole(fd: int, size: int) -> int:
    """How many bytes are whole records, counted from the start."""
    at = 0
    while True:
        frame = os.pread(fd, FRAME, at)
        following = at + 2 * FRAME + int.from_bytes(frame, "big")
        if len(frame) < FRAME or following > size or os.pread(fd, FRAME, following - FRAME) != frame:
            return at
        at = following
