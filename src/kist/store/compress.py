"""Decompressors for streams, told apart by their first bytes (media types are known to lie).

gzip through `isal` (2–3 times zlib's speed; the standard library where it is missing), zstd through
`zstandard`; bzip2 and xz for `docker load` and `import`. All give at most what is asked for, so that a
bomb is held by whoever counts the bytes. A zstd stream that breaks off simply ends (zstandard doesn't tell):
what is unpacked has a digest to be checked by anyway.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import Any, cast

import zstandard

from kist.errors import InvalidParameter
from kist.store.tarread import CUT_OFF, Source

igzip: Any
isal_error: Any = zlib.error
try:
    from isal import igzip, igzip_lib

    isal_error = igzip_lib.error
except ImportError:     # no wheel for this machine
    igzip = None

#: The largest window that a zstd frame may ask memory for, in bytes (the format's recommendation is 8 MiB).
MAX_ZSTD_WINDOW = 128 << 20
_BUFFER = 256 << 10

#: Errors that the decompressors raise for broken input.
_BROKEN = (OSError, EOFError, zlib.error, isal_error, lzma.LZMAError, zstandard.ZstdError, ValueError)


class CompressionError(InvalidParameter):
    """The compressed stream is broken."""


class _Peeked:
    """*source* with its first bytes put back."""

    def __init__(self, source: Source, first: bytes) -> None:
        self._source, self._first = source, first

    def read(self, size: int = -1, /) -> bytes:
        if self._first:
            piece = self._first if size < 0 else self._first[:size]
            self._first = self._first[len(piece):]
            return piece
        return self._source.read(size)


class _Checked:
    """A decompressor whose errors about its input are `CompressionError`, but not its source's own errors."""

    def __init__(self, name: str, make: Callable[[Any], Any], source: Source) -> None:
        self._name = name
        self._guard = _Guard(source)
        self._inner = make(self._guard)

    def read(self, size: int = -1, /) -> bytes:
        try:
            return cast(bytes, self._inner.read(size))
        except _BROKEN as error:
            if self._guard.error is not None:
                raise self._guard.error
            if isinstance(error, EOFError):
                raise CompressionError(CUT_OFF) from None
            raise CompressionError(f"invalid {self._name} stream: {error}") from None


class _Guard:
    """Remembers what went wrong in the source itself."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.error: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._source.read(size)
        except BaseException as error:
            self.error = error
            raise

    def readinto(self, buffer: memoryview, /) -> int:
        data = self.read(len(buffer))
        buffer[:len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    @property
    def closed(self) -> bool:
        return False


def _gzip(source: Any) -> Any:
    if igzip is not None:
        return igzip.IGzipFile(fileobj=source, mode="rb")
    return gzip.GzipFile(fileobj=source, mode="rb")


def _zstd(source: Any) -> Any:
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
    return decompressor.stream_reader(source, read_size=_BUFFER, read_across_frames=True)


#: Magic number, name, decompressor.
_FORMATS: tuple[tuple[bytes, str, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b\x08", "gzip", _gzip),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    (b"BZh", "bzip2", bz2.BZ2File),
    (b"\xfd7zXZ\0", "xz", lzma.LZMAFile),
)
_LONGEST = 6


def detect(first: bytes) -> str:
    """The name of the compression that begins with *first*; ``none`` for anything else."""
    return next((name for magic, name, _ in _FORMATS if first.startswith(magic)), "none")


def decompress(source: Source) -> Source:
    """The plain bytes of *source*, whatever of the known compressions it has, or none."""
    first = b""
    while len(first) < _LONGEST and (more := source.read(_LONGEST - len(first))):
        first += more
    peeked = _Peeked(source, first)
    for magic, name, make in _FORMATS:
        if first.startswith(magic):
            return _Checked(name, make, peeked)
    return peeked
