"""Parts to build a pull's one pass from: socket → hash → inflate → hash → files.

Each is a `Source` around another one. `Ahead` runs what lies below it in a thread of its own, so that
hashing and inflating (which let go of the interpreter lock) overlap with making files.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kist.store.errors import InvalidLayer
from kist.store.tarread import CHUNK, Source

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

_DEPTH = 6


class Hashed:
    """Feeds *hashed* with everything that is read."""

    def __init__(self, source: Source, hashed: Hash) -> None:
        self._source, self._hash = source, hashed

    def read(self, size: int = -1, /) -> bytes:
        piece = self._source.read(size)
        self._hash.update(piece)
        return piece


class Bounded:
    """Raises `InvalidLayer` when more than *limit* bytes come."""

    def __init__(self, source: Source, limit: int, what: str = "layer") -> None:
        self._source, self._left, self._limit, self._what = source, limit, limit, what

    def read(self, size: int = -1, /) -> bytes:
        piece = self._source.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise InvalidLayer(f"{self._what} is larger than {self._limit} bytes")
        return piece


class Joined:
    """A file's ``read`` over an iterator of pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            rest, self._rest = self._rest, b""
            return rest + b"".join(self._pieces)
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = bytes(piece)
        piece = self._rest[:size]
        self._rest = self._rest[size:]
        return piece


class Ahead:
    """Reads *source* ahead in a thread, a few chunks at most; errors come out where they would have.

    `close` waits for the thread, and so for the read that it is in: nobody touches the source afterwards.
    """

    def __init__(self, source: Source) -> None:
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_DEPTH)
        self._closed = threading.Event()
        self._rest = b""
        self._ended = False
        self._thread = threading.Thread(target=self._work, args=(source,), name="kist-ahead", daemon=True)
        self._thread.start()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed.set()
        self._ended = True
        self._thread.join()

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, as much as one chunk; ``size < 0`` means: one chunk."""
        if not self._rest:
            if self._ended:
                return b""
            found = self._queue.get()
            if isinstance(found, BaseException):
                self._ended = True
                raise found
            self._ended = not found
            self._rest = found
        if size < 0 or size >= len(self._rest):
            piece, self._rest = self._rest, b""
        else:
            piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def _work(self, source: Source) -> None:
        found: bytes | BaseException = b" "
        while found and not isinstance(found, BaseException) and not self._closed.is_set():
            try:
                found = source.read(CHUNK)
            except BaseException as error:
                found = error
            while not self._closed.is_set():
                try:
                    self._queue.put(found, timeout=0.2)
                    break
                except queue.Full:
                    continue
