"""Content in memory: the same as on disk, for tests and for what needn't be kept."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from kist.oci import digest as digests
from kist.oci.digest import Digest
from kist.store.content import Hashing, Writer, read_bounded
from kist.store.errors import NoSuchContent
from kist.store.locks import KeyLocks


class _Writer(Hashing):
    def __init__(self, store: MemoryContent, digest: Digest, size: int | None) -> None:
        super().__init__(digest, size)
        self._store = store
        self._data = store.partial.pop(digest, bytearray())
        self.complete = store.has(digest)
        if not self.complete and self._data:
            self._add(memoryview(self._data))
            self.offset = len(self._data)

    def write(self, data: bytes | memoryview, /) -> int:
        if self.complete:
            raise ValueError("the content is complete")
        self._add(data)
        self._data += data
        return len(data)

    def restart(self) -> None:
        self._data = bytearray()     # not clear(): a view of it may still be hashed
        self._reset()

    def commit(self) -> None:
        if self.complete:
            return
        self._verify()
        self._store.blobs[self.digest] = bytes(self._data)
        self.complete = True

    def close(self) -> None:
        if not self.complete and self._data:
            self._store.partial[self.digest] = self._data


class MemoryContent:
    """Blobs in a dictionary; see `ContentStore`."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.partial: dict[Digest, bytearray] = {}
        self._locks = KeyLocks()
        self._guard = threading.Lock()

    def has(self, digest: Digest) -> bool:
        return digest in self.blobs

    def size(self, digest: Digest) -> int:
        return len(self._get(digest))

    def open(self, digest: Digest) -> BinaryIO:
        return io.BytesIO(self._get(digest))

    def read(self, digest: Digest, limit: int) -> bytes:
        with self.open(digest) as file:
            return read_bounded(file, digest, limit)

    @contextmanager
    def writer(self, digest: Digest, size: int | None = None) -> Iterator[Writer]:
        with self._locks.hold(digest):
            writer = _Writer(self, digest, size)
            try:
                yield writer
            finally:
                writer.close()

    def put(self, data: bytes) -> Digest:
        digest = digests.of(data)
        with self._guard:
            self.blobs[digest] = bytes(data)
        return digest

    def delete(self, digest: Digest) -> int:
        with self._guard:
            return len(self.blobs.pop(digest, b""))

    def list(self) -> list[Digest]:
        with self._guard:
            return list(self.blobs)

    def _get(self, digest: Digest) -> bytes:
        try:
            return self.blobs[digest]
        except KeyError:
            raise NoSuchContent(f"content {digest} not found") from None
