"""Blob storage: bytes by digest, and uploads on their way to become blobs.

On disk::

    <folder>/blobs/sha256/6c/6c3c624b…      whole and verified, from the moment the name is there
    <folder>/uploads/0f3a…                  32 hexadecimal digits; appended to, then renamed into blobs/

A name in blobs/ never points at unverified bytes: `publish` renames what was hashed and synced before.
Object storage can follow: the interface asks for nothing that only a file system has (`path` may be None).
"""

from __future__ import annotations

import io
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from kist.oci import digest as digests
from kist.oci.digest import Digest


class BlobStorage(ABC):
    """Thread-safe for different uploads; one upload has one writer at a time (the caller's lock)."""

    # --- blobs ---

    @abstractmethod
    def size(self, digest: Digest) -> int | None:
        """The blob's length in bytes, None where there is no such blob."""

    @abstractmethod
    def open(self, digest: Digest) -> BinaryIO:
        """The blob's bytes, seekable. Raises FileNotFoundError."""

    @abstractmethod
    def path(self, digest: Digest) -> str | None:
        """A local file that holds exactly the blob, None where there is none."""

    @abstractmethod
    def stored_at(self, digest: Digest) -> float | None:
        """When the blob got its name (seconds since the epoch), None where there is no such blob."""

    @abstractmethod
    def delete(self, digest: Digest) -> None:
        """Remove the blob if it is there."""

    @abstractmethod
    def digests(self) -> Iterator[Digest]:
        """Every blob."""

    # --- uploads ---

    @abstractmethod
    def begin(self, upload: str) -> None:
        """A new, empty upload."""

    @abstractmethod
    def upload_size(self, upload: str) -> int | None:
        """Bytes so far, None where there is no such upload."""

    @abstractmethod
    def append(self, upload: str, offset: int, pieces: Sequence[bytes]) -> None:
        """Write ``pieces`` from ``offset`` on; what was behind it is cut off. Raises FileNotFoundError."""

    @abstractmethod
    def open_upload(self, upload: str) -> BinaryIO:
        """The upload's bytes so far. Raises FileNotFoundError."""

    @abstractmethod
    def seal(self, upload: str) -> None:
        """Make the upload's bytes durable (may take long; before `publish`)."""

    @abstractmethod
    def publish(self, upload: str, digest: Digest) -> None:
        """The sealed upload, whose digest the caller has checked, becomes a blob; the upload is gone."""

    @abstractmethod
    def discard(self, upload: str) -> None:
        """Forget the upload if it is there."""

    @abstractmethod
    def uploads(self) -> Iterator[tuple[str, float]]:
        """Every upload and when it was last written to (seconds since the epoch)."""


class DiskBlobs(BlobStorage):
    """Blobs as files under one folder."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._uploads = folder / "uploads"
        for path in (*(self._blobs / name for name in digests.ALGORITHMS), self._uploads):
            path.mkdir(parents=True, exist_ok=True)

    def _blob(self, digest: Digest) -> Path:
        encoded = digests.encoded(digests.parse(digest))
        return self._blobs / digests.algorithm(digest) / encoded[:2] / encoded

    def size(self, digest: Digest) -> int | None:
        return _size(self._blob(digest))

    def open(self, digest: Digest) -> BinaryIO:
        return self._blob(digest).open("rb", buffering=0)

    def path(self, digest: Digest) -> str | None:
        return str(self._blob(digest))

    def stored_at(self, digest: Digest) -> float | None:
        try:
            return self._blob(digest).stat().st_ctime  # a rename changes it
        except FileNotFoundError:
            return None

    def delete(self, digest: Digest) -> None:
        self._blob(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[Digest]:
        for algorithm in digests.ALGORITHMS:
            for path in (self._blobs / algorithm).glob("??/*"):
                if digests.is_digest(f"{algorithm}:{path.name}"):
                    yield Digest(f"{algorithm}:{path.name}")

    def begin(self, upload: str) -> None:
        (self._uploads / upload).touch(mode=0o600, exist_ok=False)

    def upload_size(self, upload: str) -> int | None:
        return _size(self._uploads / upload)

    def append(self, upload: str, offset: int, pieces: Sequence[bytes]) -> None:
        descriptor = os.open(self._uploads / upload, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size != offset:
                os.ftruncate(descriptor, offset)
            os.lseek(descriptor, offset, os.SEEK_SET)
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view):]
        finally:
            os.close(descriptor)

    def open_upload(self, upload: str) -> BinaryIO:
        return (self._uploads / upload).open("rb", buffering=0)

    def seal(self, upload: str) -> None:
        descriptor = os.open(self._uploads / upload, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def publish(self, upload: str, digest: Digest) -> None:
        target = self._blob(digest)
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            _sync_folder(target.parent.parent)
        (self._uploads / upload).rename(target)
        _sync_folder(target.parent)

    def discard(self, upload: str) -> None:
        (self._uploads / upload).unlink(missing_ok=True)

    def uploads(self) -> Iterator[tuple[str, float]]:
        with os.scandir(self._uploads) as entries:
            for entry in entries:
                try:
                    yield entry.name, entry.stat().st_mtime
                except FileNotFoundError:
                    continue


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class MemoryBlobs(BlobStorage):
    """Blobs in memory, for tests and throw-away Hubs."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, bytes] = {}
        self._stored: dict[Digest, float] = {}
        self._parts: dict[str, bytearray] = {}
        self._touched: dict[str, float] = {}
        self._lock = threading.Lock()

    def size(self, digest: Digest) -> int | None:
        data = self._blobs.get(digest)
        return None if data is None else len(data)

    def open(self, digest: Digest) -> BinaryIO:
        try:
            return io.BytesIO(self._blobs[digest])
        except KeyError:
            raise FileNotFoundError(digest) from None

    def path(self, digest: Digest) -> str | None:
        return None

    def stored_at(self, digest: Digest) -> float | None:
        return self._stored.get(digest)

    def delete(self, digest: Digest) -> None:
        self._blobs.pop(digest, None)
        self._stored.pop(digest, None)

    def digests(self) -> Iterator[Digest]:
        yield from list(self._blobs)

    def begin(self, upload: str) -> None:
        with self._lock:
            if upload in self._parts:
                raise FileExistsError(upload)
            self._parts[upload] = bytearray()
            self._touch(upload)

    def _touch(self, upload: str) -> None:
        self._touched[upload] = time.time()

    def _part(self, upload: str) -> bytearray:
        try:
            return self._parts[upload]
        except KeyError:
            raise FileNotFoundError(upload) from None

    def upload_size(self, upload: str) -> int | None:
        part = self._parts.get(upload)
        return None if part is None else len(part)

    def append(self, upload: str, offset: int, pieces: Sequence[bytes]) -> None:
        part = self._part(upload)
        del part[offset:]
        for piece in pieces:
            part += piece
        self._touch(upload)

    def open_upload(self, upload: str) -> BinaryIO:
        return io.BytesIO(bytes(self._part(upload)))

    def seal(self, upload: str) -> None:
        self._part(upload)

    def publish(self, upload: str, digest: Digest) -> None:
        with self._lock:
            self._blobs[digest] = bytes(self._part(upload))
            self._stored[digest] = time.time()
            self.discard(upload)

    def discard(self, upload: str) -> None:
        self._parts.pop(upload, None)
        self._touched.pop(upload, None)

    def uploads(self) -> Iterator[tuple[str, float]]:
        yield from list(self._touched.items())
