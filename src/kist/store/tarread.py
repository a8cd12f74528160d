"""A streaming tar reader for hostile input (the format is drawn in `tarformat`).

One pass over anything with ``read(n)``; memory is bounded by one chunk and `MAX_SPECIAL`. Where readers of
the world disagree, this one does what Go's archive/tar does, because Docker reads layers with it. Names are
not judged here: that is for whoever makes files of them (`extract`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

from kist.errors import InvalidParameter
from kist.store import tarsparse
from kist.store.tarformat import (
    BLOCK,
    BLOCKDEV,
    CHARDEV,
    CONTIGUOUS,
    DIRECTORY,
    FIFO,
    GNU_LONGLINK,
    GNU_LONGNAME,
    GNU_SPARSE,
    HARDLINK,
    MAGIC_GNU,
    MAGIC_POSIX,
    MAX_SPECIAL,
    OLD_REGULAR,
    PAX,
    PAX_GLOBAL,
    REGULAR,
    SYMLINK,
    XATTR_PREFIX,
    ZEROS,
    Entry,
    show,
)

#: How much is asked of the source at a time: large enough that hashing and writing dominate.
CHUNK = 1 << 20
# In the words of Go's archive/tar and io, which Docker hands through.
CUT_OFF = "unexpected EOF"
NO_HEADER = "archive/tar: invalid tar header"
_TYPES = {t: t for t in (REGULAR, HARDLINK, SYMLINK, CHARDEV, BLOCKDEV, DIRECTORY, FIFO)} | {
    OLD_REGULAR: REGULAR, CONTIGUOUS: REGULAR,
}


class TarError(InvalidParameter):
    """Not a tar archive, or one that is broken or uses what isn't supported."""


class Source(Protocol):
    """Where bytes come from: a file, a socket's wrapper, a decompressor."""

    def read(self, size: int = -1, /) -> bytes: ...


class TarReader:
    """Iterates over the entries; between two steps `read` and `chunks` give the current one's data."""

    def __init__(self, source: Source, *, sparse: bool = False) -> None:
        """`sparse`: files with holes are taken, as such; without they are an error."""
        self._source = source
        self._sparse = sparse
        self._chunk = b""
        self._at = 0
        self._delivered = 0     # bytes that the source gave
        self._left = 0          # data of the current entry not read yet
        self._padding = 0
        self._numbers: dict[bytes, int] = {}
        self.entries = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """The next entry; None at the end. Raises `TarError`."""
        pax: dict[bytes, bytes] = {}
        long: dict[bytes, bytes] = {}
        while True:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
            header = self._header()
            if header is None:
                if pax or long:
                    raise TarError("the archive ends between an extended header and its file")
                return None
            kind = header[156:157]
            if kind in _TYPES:
                return self._entry(header, _TYPES[kind], pax, long)
            size = self._number(header[124:136], "size")
            if kind == PAX:
                pax |= parse_pax(self._special(size), sparse=self._sparse)
            elif kind == PAX_GLOBAL:
                parse_pax(self._special(size))
            elif kind in (GNU_LONGNAME, GNU_LONGLINK):
                long[kind] = self._special(size).partition(b"\0")[0]
            elif kind == GNU_SPARSE and self._sparse:
                return self._with_holes(header, self._entry(header, REGULAR, pax, long))
            elif kind == GNU_SPARSE:
                raise TarError(f"{show(_text(header[:100]))}: sparse files are not supported in archives")
            else:
                raise TarError(f"{show(_text(header[:100]))}: unhandled tar header type {kind!r}")

    @property
    def position(self) -> int:
        """The offset in the archive of what comes next: after an entry's header, of its data."""
        return self._delivered - len(self._chunk) + self._at

    def read(self, size: int) -> memoryview:
        """At most *size* bytes of the current entry's data, empty at its end."""
        size = min(size, self._left)
        if not size:
            return memoryview(b"")
        if self._at == len(self._chunk) and not self._fill():
            raise TarError(CUT_OFF)
        piece = memoryview(self._chunk)[self._at:self._at + size]
        self._at += len(piece)
        self._left -= len(piece)
        return piece

    def chunks(self) -> Iterator[memoryview]:
        """The rest of the current entry's data."""
        while piece := self.read(CHUNK):
            yield piece

    def drain(self) -> None:
        """Read what follows the end of the archive (padding), so that a hash of the source sees all of it."""
        self._at = len(self._chunk)
        while self._source.read(CHUNK):
            pass

    # -- headers ------------------------------------------------------------------------------------

    def _header(self) -> bytes | None:
        """The next block that isn't the end mark."""
        header = self._take(BLOCK, may_end=True)
        if not header:
            return None
        if header == ZEROS:
            second = self._take(BLOCK, may_end=True)
            if second not in (b"", ZEROS):
                raise TarError("invalid tar header: data after an empty block")
            return None
        self.entries += 1
        _check_sum(header)
        return header

    def _entry(self, header: bytes, kind: bytes, pax: dict[bytes, bytes], long: dict[bytes, bytes]) -> Entry:
        number = self._number
        magic = header[257:265]
        posix = magic == MAGIC_POSIX
        name = _text(header[:100])
        if posix and header[345] and (prefix := _text(header[345:500])):
            name = prefix + b"/" + name
        entry = Entry(name, kind, mode=number(header[100:108], "mode") & 0o7777,
                      uid=number(header[108:116], "uid"), gid=number(header[116:124], "gid"),
                      mtime=number(header[136:148], "mtime") * 1_000_000_000,
                      linkname=_text(header[157:257]))
        size = number(header[124:136], "size")
        if kind in (CHARDEV, BLOCKDEV) and (posix or magic == MAGIC_GNU):
            entry.major = number(header[329:337], "device number")
            entry.minor = number(header[337:345], "device number")
        if long:
            entry.name = long.get(GNU_LONGNAME, entry.name)
            entry.linkname = long.get(GNU_LONGLINK, entry.linkname)
        if pax:
            size = _apply_pax(entry, pax, size)
        if header[156:157] == OLD_REGULAR and entry.name.endswith(b"/"):
            entry.type = DIRECTORY      # before there was a type for them
        if not 0 <= size <= tarsparse.LARGEST:
            raise TarError(f"{show(entry.name)}: invalid size {size}")
        if entry.type == REGULAR:
            entry.size = self._left = size
            self._padding = -size % BLOCK
        if any(key.startswith(tarsparse.PREFIX) for key in pax):
            self._mapped(entry, pax)
        return entry

    def _with_holes(self, header: bytes, entry: Entry) -> Entry:
        """A file in the old GNU format."""
        try:
            segments, entry.size = tarsparse.read_old(header, self._take, lambda field: self._number(field, "size"))
            entry.sparse = tarsparse.checked(segments, entry.size, self._left)
        except tarsparse.BadMap as error:
            raise TarError(f"{show(entry.name)}: {error}") from None
        return entry

    def _mapped(self, entry: Entry, pax: dict[bytes, bytes]) -> None:
        """A file in format 1.0: its map comes before its data."""
        if (pax.get(b"GNU.sparse.major"), pax.get(b"GNU.sparse.minor")) != (b"1", b"0") or entry.type != REGULAR:
            raise TarError(f"{show(entry.name)}: a sparse file in a format that is not supported")
        entry.name = pax.get(b"GNU.sparse.name", entry.name)
        entry.size = _decimal(pax.get(b"GNU.sparse.realsize", b""), "size")
        try:
            entry.sparse = tarsparse.checked(tarsparse.read_map(self._take_data), entry.size, self._left)
        except tarsparse.BadMap as error:
            raise TarError(f"{show(entry.name)}: {error}") from None

    def _take_data(self, size: int) -> bytes:
        if self._left < size:
            raise tarsparse.BadMap("its map is cut off")
        self._left -= size
        return self._take(size)

    def _number(self, field: bytes, what: str) -> int:
        # The same few modes, owners and times come again and again: look them up before parsing them.
        found = self._numbers.get(field)
        if found is None:
            if len(self._numbers) > 10_000:
                self._numbers.clear()
            found = self._numbers[field] = parse_number(field, what)
        return found

    def _special(self, size: int) -> bytes:
        """The data of an extended header."""
        if not 0 <= size <= MAX_SPECIAL:
            raise TarError(f"extended header of {size} bytes (at most {MAX_SPECIAL})")
        data = self._take(size)
        self._skip(-size % BLOCK)
        return data

    # -- bytes --------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        self._chunk, self._at = self._source.read(CHUNK), 0
        self._delivered += len(self._chunk)
        return bool(self._chunk)

    def _take(self, size: int, *, may_end: bool = False) -> bytes:
        """Exactly *size* bytes; none at all where the source *may end*."""
        taken = self._chunk[self._at:self._at + size]
        self._at += len(taken)
        while len(taken) < size and self._fill():
            more = self._chunk[:size - len(taken)]
            self._at = len(more)
            taken += more
        if len(taken) < size and not (may_end and not taken):
            raise TarError(CUT_OFF)
        return taken

    def _skip(self, size: int) -> None:
        while size:
            step = min(size, len(self._chunk) - self._at)
            self._at += step
            size -= step
            if size and not self._fill():
                raise TarError(CUT_OFF)


def parse_number(field: bytes, what: str = "number") -> int:
    """A header's number: octal text, or binary after a first byte with its highest bit set."""
    if field[0] & 0x80:
        binary = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            binary -= 1 << (8 * len(field) - 1)
        return binary
    text = field.partition(b"\0")[0].strip(b" ")
    if not text:
        return 0
    # int() alone would take signs, underscores and "0o".
    if not text.isdigit():
        raise TarError(f"invalid tar header: {what} {show(text)!r}")
    try:
        return int(text, 8)
    except ValueError:
        raise TarError(f"invalid tar header: {what} {show(text)!r}") from None


def parse_pax(data: bytes, *, sparse: bool = False) -> dict[bytes, bytes]:
    """The records of a pax header; a later record wins over an earlier one of the same key."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        equals = data.find(b"=", space, end)
        if not (space < equals < end <= len(data)) or data[end - 1:end] != b"\n":
            raise TarError("invalid pax record")
        key, value = data[space + 1:equals], data[equals + 1:end - 1]
        if not key or b"\0" in key or (b"\0" in value and not key.startswith(XATTR_PREFIX)):
            raise TarError(f"invalid pax record {show(key)!r}")
        if key.startswith(tarsparse.PREFIX) and not sparse:
            raise TarError("sparse files are not supported in archives")
        records[key] = value
        at = end
    return records


def _apply_pax(entry: Entry, pax: dict[bytes, bytes], size: int) -> int:
    """Let the records overrule the header; an empty value takes a record back. The size is returned."""
    for key, value in pax.items():
        if not value and not key.startswith(XATTR_PREFIX):
            continue
        if key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.linkname = value
        elif key == b"size":
            size = _decimal(value, "size")
        elif key == b"uid":
            entry.uid = _decimal(value, "uid")
        elif key == b"gid":
            entry.gid = _decimal(value, "gid")
        elif key == b"mtime":
            entry.mtime = _time(value)
        elif key.startswith(XATTR_PREFIX):
            try:
                entry.xattrs[key[len(XATTR_PREFIX):].decode()] = value
            except UnicodeDecodeError:
                raise TarError(f"invalid pax record {show(key)!r}") from None
    return size


def _decimal(text: bytes, what: str) -> int:
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 19:
        raise TarError(f"invalid pax record: {what} {show(text)!r}")
    return int(text)


def _time(text: bytes) -> int:
    """Decimal seconds with an optional fraction, in nanoseconds (what is finer is cut off)."""
    whole, _, fraction = text.partition(b".")
    negative = whole.startswith(b"-")
    seconds = _decimal(whole, "time")
    if fraction and not fraction.isdigit():
        raise TarError(f"invalid pax record: time {show(text)!r}")
    nanoseconds = int((fraction + bytes(9).replace(b"\0", b"0"))[:9])
    return seconds * 1_000_000_000 + (-nanoseconds if negative else nanoseconds)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _check_sum(header: bytes) -> None:
    """The sum of the header's bytes, its own field counted as blanks.

    ``sum(header)`` is slow, and there is one per file: the low half of Adler-32 is the same sum modulo 65521.
    """
    try:
        wanted = parse_number(header[148:156], "checksum")
    except TarError:
        raise TarError(NO_HEADER) from None
    found = (zlib.adler32(header[:148] + b"        " + header[156:]) & 0xFFFF) - 1
    if wanted > BLOCK * 255 or wanted % 65521 != found % 65521:
        # Some old writers added the bytes as signed numbers.
        signed = sum(byte - 256 if byte > 127 else byte for byte in header[:148] + header[156:]) + 8 * 32
        if signed != wanted:
            raise TarError(NO_HEADER if header[257:262] != b"ustar" else f"{NO_HEADER}: checksum")
