"""Files with holes in tar archives (GNU tar's manual, "Sparse Formats"). Pure.

Written, and read, is PAX format 1.0: the pax records ``GNU.sparse.{major=1,minor=0,name,realsize}``, and in front of
the file's data a map of what is there, in lines, filled up with zeros to 512 bytes::

    2⏎0⏎512⏎1048576⏎4096⏎␀␀…      two pieces: 512 bytes at 0, 4096 at 1048576

Read is the old GNU format, too (type S, what `tar --sparse` writes by default): four pairs in the header, 21 in each
block that follows::

    386         482 483                            0            504
    ┌──────────┬───┬────────┐                      ┌────────────┬───┐
    │4 × (12+12)│ext│realsize│                     │21 × (12+12)│ext│
    └──────────┴───┴────────┘                      └────────────┴───┘
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from kist.store.tarformat import BLOCK, MAX_SPECIAL

Segments = list[tuple[int, int]]  # (offset, length), in order, nothing twice
Take = Callable[[int], bytes]  # exactly so many bytes of the archive
Number = Callable[[bytes], int]  # a header's number

PREFIX = b"GNU.sparse."
MAX_SEGMENTS = 20_000  # that are written: what readers of the world take
LEAST_HOLE = 1 << 16  # bytes; smaller ones are written as zeros
LARGEST = (1 << 63) - 1
_PAIR = 12


class BadMap(ValueError):
    """A map that can't be; the words say why."""


# Out


def segments_of(fd: int, size: int) -> Segments | None:
    """What of the file is data, by lseek(2); None for one without holes that are worth it."""
    least = LEAST_HOLE
    while True:
        found = _segments(fd, size, least)
        if len(found) <= MAX_SEGMENTS:
            if sum(length for _, length in found) == size:
                return None
            ends = bool(found) and sum(found[-1]) == size
            return found if ends else [*found, (size, 0)]  # GNU tar goes by the last one's end
        least *= 4


def _segments(fd: int, size: int, least: int) -> Segments:
    found: Segments = []
    at = 0
    while at < size:
        try:
            begin = os.lseek(fd, at, os.SEEK_DATA)
            at = os.lseek(fd, begin, os.SEEK_HOLE)
        except OSError:  # ENXIO: a hole to the end
            break
        begin, end = min(begin, size), min(at, size)
        if found and begin - sum(found[-1]) < least:
            begin = found.pop()[0]
        if end > begin:
            found.append((begin, end - begin))
        if len(found) > MAX_SEGMENTS:
            break
    return found


def written(segments: Segments) -> bytes:
    lines = [len(segments), *(number for pair in segments for number in pair)]
    data = b"".join(b"%d\n" % line for line in lines)
    return data + bytes(-len(data) % BLOCK)


def name_for_others(name: bytes) -> bytes:
    """What a reader that knows nothing of this makes of it. A short one, where the real one would need a record of its
    own: some readers take that for the file's name."""
    folder, slash, last = name.rpartition(b"/")
    found = folder + slash + b"GNUSparseFile.0/" + last
    return found if len(found) <= 100 and found.isascii() else b"GNUSparseFile.0/file"


# In


def read_map(take: Take) -> Segments:
    """A map of format 1.0."""
    text, taken = b"", 0

    def line() -> int:
        nonlocal text, taken
        while b"\n" not in text:
            if taken >= MAX_SPECIAL or len(text) > 20:
                raise BadMap("its map is too large")
            text += take(BLOCK)
            taken += BLOCK
        digits, _, text = text.partition(b"\n")
        if not digits.isdigit() or len(digits) > 19:
            raise BadMap("its map is no list of numbers")
        return int(digits)

    count = line()
    if count > MAX_SPECIAL // 4:
        raise BadMap("its map is too large")
    return [(line(), line()) for _ in range(count)]


def read_old(header: bytes, take: Take, number: Number) -> tuple[Segments, int]:
    """The pairs of a header of type S and of the blocks behind it; the file's real size."""
    found = list(_pairs(header[386:482], number))
    more = header[482:483] not in (b"\0", b"")
    while more:
        if len(found) > MAX_SPECIAL // 2 // _PAIR:
            raise BadMap("its map is too large")
        block = take(BLOCK)
        found += _pairs(block[:504], number)
        more = block[504:505] != b"\0"
    return found, number(header[483:495])


def _pairs(fields: bytes, number: Number) -> Iterable[tuple[int, int]]:
    for at in range(0, len(fields), 2 * _PAIR):
        if fields[at] == 0:
            return
        yield number(fields[at:at + _PAIR]), number(fields[at + _PAIR:at + 2 * _PAIR])


def checked(segments: Segments, size: int, stored: int) -> Segments:
    """In order, inside of the file, and as much as the archive has; empty ones are left out. Raises BadMap."""
    if not 0 <= size <= LARGEST:
        raise BadMap(f"invalid size {size}")
    at = total = 0
    for begin, length in segments:
        if begin < at or length < 0 or begin + length > size:
            raise BadMap("the pieces of its map overlap, or lie outside of it")
        at, total = begin + length, total + length
    if total != stored:
        raise BadMap(f"its map is of {total} bytes, the archive has {stored}")
    return [pair for pair in segments if pair[1]]
