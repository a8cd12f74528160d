"""Content by digest: blobs that never change, each verified before it gets its name.

    content/sha256/6c3c624b…      the blob; its bytes hash to its name
    content/partial/sha256-6c3c…  what has come of a blob so far; an interrupted writer goes on from there

Published by rename: write, hash, compare, fsync, rename, fsync of the directory. Two implementations, on disk
and in memory (`memory`), pass one suite (tests/unit/store/test_store_content.py).
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import BinaryIO, Protocol

from kist.oci import digest as digests
from kist.oci.digest import Digest
from kist.store.errors import DigestMismatch, NoSuchContent, storage_errors
from kist.store.locks import KeyLocks
from kist.store.trash import Trash

_COPY = 1 << 20


class Writer(Protocol):
    """Writes one content. `complete`: it is there already (another writer was faster); write nothing then.

    `offset` is the number of bytes that are there from an earlier try; write what comes after them.
    """

    complete: bool
    offset: int

    def write(self, data: bytes | memoryview, /) -> int:
        """Append; raises `DigestMismatch` when more comes than the announced size."""

    def commit(self) -> None:
        """Verify and publish; raises `DigestMismatch`, and then nothing is kept of bytes that are wrong."""

    def restart(self) -> None:
        """Forget what came so far (the source can't go on in the middle)."""


class ContentStore(Protocol):
    """Blobs by digest. All methods may be called from any thread."""

    def has(self, digest: Digest) -> bool: ...

    def size(self, digest: Digest) -> int:
        """In bytes; raises `NoSuchContent`."""

    def open(self, digest: Digest) -> BinaryIO:
        """For reading; raises `NoSuchContent`."""

    def read(self, digest: Digest, limit: int) -> bytes:
        """All of a content of at most *limit* bytes."""

    def writer(self, digest: Digest, size: int | None = None) -> AbstractContextManager[Writer]:
        """A writer for *digest*; waits while another thread writes the same."""

    def put(self, data: bytes) -> Digest:
        """Store *data* under its own digest."""

    def delete(self, digest: Digest) -> int:
        """Remove it; the number of bytes is returned, 0 if it wasn't there."""

    def list(self) -> list[Digest]: ...


class Hashing(ABC):
    """What both writers share: counting, hashing, comparing."""

    def __init__(self, digest: Digest, size: int | None) -> None:
        self.digest, self.size = digest, size
        self.offset = 0
        self.complete = False
        self._hash = digests.hasher(digest)
        self._count = 0

    def _add(self, data: bytes | memoryview) -> None:
        self._count += len(data)
        if self.size is not None and self._count > self.size:
            self.restart()
            raise DigestMismatch(f"{self.digest}: more than the announced {self.size} bytes")
        self._hash.update(data)

    def _verify(self) -> None:
        if self.size is not None and self._count < self.size:
            # Nothing wrong with it so far: the next writer may go on from here.
            raise DigestMismatch(f"{self.digest}: {self._count} of the announced {self.size} bytes")
        found = digests.from_hash(self._hash)
        if found != self.digest:
            self.restart()
            raise DigestMismatch(f"{self.digest}: the content's digest is {found}")

    @abstractmethod
    def restart(self) -> None: ...

    def _reset(self) -> None:
        self._hash = digests.hasher(self.digest)
        self._count = self.offset = 0


class _DiskWriter(Hashing):
    def __init__(self, store: DiskContent, digest: Digest, size: int | None) -> None:
        super().__init__(digest, size)
        self._store = store
        self._partial = store.partial_path(digest)
        self._fd = -1
        self.complete = store.has(digest)
        if not self.complete:
            with storage_errors(f"write {digest}"):
                self._fd = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._resume()

    def _resume(self) -> None:
        """Hash what an earlier try left; too much of it is as good as nothing."""
        while piece := os.read(self._fd, _COPY):
            self._count += len(piece)
            self._hash.update(piece)
        self.offset = self._count
        if self.size is not None and self._count > self.size:
            self.restart()

    def write(self, data: bytes | memoryview, /) -> int:
        if self.complete:
            raise ValueError("the content is complete")
        self._add(data)
        with storage_errors(f"write {self.digest}"):
            rest = memoryview(data)
            while len(rest):
                rest = rest[os.write(self._fd, rest):]
        return len(data)

    def restart(self) -> None:
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._reset()

    def commit(self) -> None:
        if self.complete:
            return
        self._verify()
        with storage_errors(f"write {self.digest}"):
            os.fsync(self._fd)
            self._store.publish(self._partial, self.digest)
        self.complete = True

    def close(self) -> None:
        if self._fd < 0:
            return
        size = os.fstat(self._fd).st_size
        os.close(self._fd)
        self._fd = -1
        if not self.complete and size == 0:
            os.unlink(self._partial)


class Spool:
    """Content that gets its name at the end: `write`, then `commit`; without it nothing stays."""

    def __init__(self, store: DiskContent, path: str) -> None:
        self._store, self._path = store, path
        self._hash = hashlib.sha256()
        self.size = 0
        with storage_errors("write content"):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes | memoryview, /) -> int:
        self._hash.update(data)
        self.size += len(data)
        with storage_errors("write content"):
            rest = memoryview(data)
            while len(rest):
                rest = rest[os.write(self._fd, rest):]
        return len(data)

    def commit(self) -> Digest:
        """Publish; its digest."""
        digest = digests.from_hash(self._hash)
        if not self._store.has(digest):
            with storage_errors("write content"):
                os.fsync(self._fd)
                self._store.publish(self._path, digest)
        return digest

    def close(self) -> None:
        os.close(self._fd)
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass


class DiskContent:
    """Content in files below *path*; *touch* is told of every content that somebody asks for or stores."""

    def __init__(self, path: str, trash: Trash, touch: Callable[[Digest], None] = lambda _: None) -> None:
        self._path, self._trash, self._touch = path, trash, touch
        self._locks = KeyLocks()
        for name in (*digests.ALGORITHMS, "partial"):
            os.makedirs(f"{path}/{name}", 0o700, exist_ok=True)
        for name in os.listdir(f"{path}/partial"):
            if name.startswith("spool-"):
                trash.throw(f"{path}/partial/{name}")   # a killed server's; nobody can go on with it

    def path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
        return f"{self._path}/{digests.algorithm(digest)}/{digests.encoded(digest)}"

    def partial_path(self, digest: Digest) -> str:
        """Where the part of it that has come is kept."""
        return f"{self._path}/partial/{digest.replace(':', '-')}"

    def has(self, digest: Digest) -> bool:
        self._touch(digest)
        return os.path.exists(self.path(digest))

    def size(self, digest: Digest) -> int:
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise NoSuchContent(f"content {digest} not found") from None

    def total_size(self) -> int:
        """Of all contents together, in bytes. Some may come and go meanwhile."""
        total = 0
        for digest in self.list():
            with suppress(NoSuchContent):
                total += self.size(digest)
        return total

    def open(self, digest: Digest) -> BinaryIO:
        try:
            return io.FileIO(self.path(digest))
        except FileNotFoundError:
            raise NoSuchContent(f"content {digest} not found") from None

    def read(self, digest: Digest, limit: int) -> bytes:
        with self.open(digest) as file, storage_errors(f"read {digest}"):
            return read_bounded(file, digest, limit)

    @contextmanager
    def writer(self, digest: Digest, size: int | None = None) -> Iterator[Writer]:
        with self._locks.hold(digest):
            writer = _DiskWriter(self, digest, size)
            try:
                yield writer
            finally:
                writer.close()

    def put(self, data: bytes) -> Digest:
        digest = digests.of(data)
        with self.writer(digest, len(data)) as writer:
            if not writer.complete:
                writer.restart()
                writer.write(data)
            writer.commit()
        return digest

    @contextmanager
    def spool(self) -> Iterator[Spool]:
        """A writer for content whose digest isn't known yet."""
        name = f"spool-{secrets.token_hex(8)}"
        with self._locks.hold(name):
            spool = Spool(self, f"{self._path}/partial/{name}")
            try:
                yield spool
            finally:
                spool.close()

    def publish(self, partial: str, digest: Digest) -> None:
        """Give the verified and flushed file *partial* its name."""
        path = self.path(digest)
        self._touch(digest)
        os.rename(partial, path)
        fsync_directory(os.path.dirname(path))

    def delete(self, digest: Digest) -> int:
        try:
            size = os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            return 0
        return size if self._trash.throw(self.path(digest)) else 0

    def list(self) -> list[Digest]:
        return [Digest(f"{name}:{encoded}") for name in digests.ALGORITHMS
                for encoded in os.listdir(f"{self._path}/{name}") if digests.is_digest(f"{name}:{encoded}")]

    def strays(self) -> Sequence[str]:
        """Files among the contents whose names are no digests, relative to the store's content directory."""
        return [f"{name}/{entry}" for name in digests.ALGORITHMS for entry in os.listdir(f"{self._path}/{name}")
                if not digests.is_digest(f"{name}:{entry}")]

    def drop_stray(self, path: str) -> None:
        """Remove one of `strays`."""
        self._trash.throw(f"{self._path}/{path}")

    def age(self, digest: Digest) -> float:
        """Seconds since it was stored."""
        try:
            return time.time() - os.stat(self.path(digest)).st_mtime
        except FileNotFoundError:
            return 0.0

    def drop_partials(self, older_than: float) -> int:
        """Forget interrupted writers' files that nobody touched for so many seconds; the bytes freed.

        What is being written is left alone.
        """
        freed = 0
        for name in os.listdir(f"{self._path}/partial"):
            path = f"{self._path}/partial/{name}"
            with self._locks.hold_if_free(name if name.startswith("spool-") else name.replace("-", ":", 1)) as free:
                try:
                    found = os.stat(path)
                except FileNotFoundError:
                    continue
                if free and time.time() - found.st_mtime >= older_than and self._trash.throw(path):
                    freed += found.st_size
        return freed


def read_bounded(file: BinaryIO, digest: Digest, limit: int) -> bytes:
    """All of *file*, which has at most *limit* bytes."""
    data = bytearray()
    while len(data) <= limit and (piece := file.read(min(limit + 1 - len(data), _COPY))):
        data += piece
    if len(data) > limit:
        raise DigestMismatch(f"{digest} is larger than {limit} bytes")
    return bytes(data)


def fsync_directory(path: str) -> None:
    """Make the names in directory *path* survive power loss."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
