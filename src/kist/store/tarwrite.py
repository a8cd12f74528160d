"""A tar writer: POSIX ustar, with pax records only for what doesn't fit (the format is drawn in `tarformat`).

The same entries always give the same bytes: no names of users, times in whole seconds (as Docker writes
them), records in the order of their keys.
"""

from __future__ import annotations

from typing import Protocol

from kist.store import tarsparse
from kist.store.tarformat import (
    BLOCK,
    BLOCKDEV,
    CHARDEV,
    DIRECTORY,
    MAGIC_POSIX,
    PAX,
    REGULAR,
    XATTR_PREFIX,
    Entry,
)

_OCTAL_ID = 0o7777777           # the largest number of seven octal digits
_OCTAL_SIZE = 0o77777777777     # … and of eleven


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes | memoryview, /) -> object: ...


class TarWriter:
    """Writes entries: `add`, then exactly ``entry.stored`` bytes by `write`; `close` ends the archive."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._left = 0
        self._padding = 0

    def add(self, entry: Entry) -> None:
        """Begin *entry*; its name is relative, without a leading ``./``."""
        self._end_entry()
        holes = b""
        if entry.sparse is not None:
            holes = tarsparse.written(entry.sparse)
            entry, sparse = _for_others(entry, len(holes)), _sparse_records(entry)
            records = _records(entry) | sparse
        else:
            records = _records(entry)
        if records:
            data = b"".join(_record(key, records[key]) for key in sorted(records))
            extended = Entry(b"PaxHeaders.0/" + entry.name.rstrip(b"/").rpartition(b"/")[2][:80], PAX)
            extended.mtime = entry.mtime
            self._sink.write(_header(extended, len(data)) + data + bytes(-len(data) % BLOCK))
        size = entry.size if entry.type == REGULAR else 0
        self._sink.write(_header(entry, size) + holes)
        self._left, self._padding = size - len(holes), -size % BLOCK

    def write(self, data: bytes | memoryview) -> None:
        """More of the current entry's data."""
        if len(data) > self._left:
            raise ValueError(f"{len(data) - self._left} bytes more than the entry's size")
        self._left -= len(data)
        self._sink.write(data)

    def close(self) -> None:
        """Write the end mark. The sink stays open."""
        self._end_entry()
        self._sink.write(bytes(2 * BLOCK))

    def _end_entry(self) -> None:
        if self._left:
            raise ValueError(f"{self._left} bytes less than the entry's size")
        if self._padding:
            self._sink.write(bytes(self._padding))
            self._padding = 0


def _for_others(entry: Entry, holes: int) -> Entry:
    """The file with holes as a plain one: its map, and the data that it has."""
    return Entry(tarsparse.name_for_others(entry.name), entry.type, mode=entry.mode, uid=entry.uid, gid=entry.gid,
                 size=holes + entry.stored, mtime=entry.mtime, xattrs=entry.xattrs)


def _sparse_records(entry: Entry) -> dict[bytes, bytes]:
    return {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": entry.name,
            b"GNU.sparse.realsize": b"%d" % entry.size}


def _records(entry: Entry) -> dict[bytes, bytes]:
    """What the header can't hold."""
    records = {XATTR_PREFIX + name.encode(): value for name, value in entry.xattrs.items()}
    if _split(_stored_name(entry)) is None or not entry.name.isascii():
        records[b"path"] = _stored_name(entry)
    if len(entry.linkname) > 100 or not entry.linkname.isascii():
        records[b"linkpath"] = entry.linkname
    if entry.type == REGULAR and entry.size > _OCTAL_SIZE:
        records[b"size"] = b"%d" % entry.size
    if entry.uid > _OCTAL_ID:
        records[b"uid"] = b"%d" % entry.uid
    if entry.gid > _OCTAL_ID:
        records[b"gid"] = b"%d" % entry.gid
    if not 0 <= entry.mtime // 1_000_000_000 <= _OCTAL_SIZE:
        records[b"mtime"] = b"%d" % (entry.mtime // 1_000_000_000)
    return records


def _record(key: bytes, value: bytes) -> bytes:
    """``length key=value\\n``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _stored_name(entry: Entry) -> bytes:
    return entry.name.rstrip(b"/") + b"/" if entry.type == DIRECTORY else entry.name


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Prefix and name, where the name can be cut at a slash so that both fit."""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", max(0, len(name) - 101), 156)
    if cut <= 0 or cut == len(name) - 1:
        return None
    return name[:cut], name[cut + 1:]


def _header(entry: Entry, size: int) -> bytes:
    name = _stored_name(entry)
    prefix, name = _split(name) or (b"", name[:100])
    device = entry.type in (CHARDEV, BLOCKDEV)
    seconds = min(max(entry.mtime // 1_000_000_000, 0), _OCTAL_SIZE)
    head = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name.ljust(100, b"\0"), entry.mode & 0o7777, min(entry.uid, _OCTAL_ID), min(entry.gid, _OCTAL_ID),
        min(size, _OCTAL_SIZE), seconds)
    tail = b"%s%s%s%s%07o\0%07o\0%s" % (
        entry.type, entry.linkname[:100].ljust(100, b"\0"), MAGIC_POSIX, bytes(64),
        entry.major if device else 0, entry.minor if device else 0, prefix.ljust(155, b"\0"))
    total = sum(head) + sum(tail) + 8 * 32
    return (head + b"%06o\0 " % total + tail).ljust(BLOCK, b"\0")
