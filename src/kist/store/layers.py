"""Unpacked layers, one directory per chain id, made in two steps.

    staging/<random>/fs    a layer that is being unpacked; what is here at a start is thrown away
    layers/<number>/fs     a published one; the number is short because a mount's options fit on one page
    layers/<number>/layer.erofs   its files, where layers are kept as one file each (`erofs`); fs is empty then

`stage` unpacks and verifies the diff id, in any order and side by side; `publish` puts the layer on its
parent: flush the file system once, rename, record. A directory without a record was never published.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from kist.linux import inode_flags
from kist.linux.sync import syncfs
from kist.oci import chainid
from kist.oci import digest as digests
from kist.oci.digest import Digest
from kist.store import erofs
from kist.store.content import fsync_directory
from kist.store.db import Database
from kist.store.errors import DigestMismatch, DiskFull, InvalidLayer, NoSuchContent, storage_errors
from kist.store.extract import Extractor
from kist.store.inodes import Inodes
from kist.store.locks import KeyLocks
from kist.store.sealing import Seals
from kist.store.streams import Ahead, Bounded, Hashed
from kist.store.tarread import Source, TarError, TarReader
from kist.store.trash import Trash
from kist.store.unpacking import Unpacker

#: Free bytes that unpacking leaves on the file system when the caller gives no limit.
_RESERVE = 64 << 20


Paths = list[str]


@dataclass(frozen=True)
class Layer:
    """A published layer; `size` in bytes of its files. `path` holds them, but for those of an EROFS layer:
    there it is where a container mounts `image`."""

    chain_id: Digest
    parent: Digest | None
    diff_id: Digest
    path: str
    size: int
    entries: int
    stored: float
    verity: str | None = None   # fs-verity's digest of `image`, None if that isn't sealed

    @property
    def directory(self) -> str:
        return os.path.dirname(self.path)

    @property
    def image(self) -> str | None:
        """The layer's EROFS file, None for plain files."""
        return f"{self.directory}/{erofs.IMAGE}" if erofs.is_sealed(self.directory) else None


class Staged:
    """An unpacked, verified layer without a place in a stack yet. Leaving the context throws it away."""

    def __init__(self, path: str, diff_id: Digest, unpacker: Unpacker[Any]) -> None:
        self.path, self.diff_id, self.unpacker = path, diff_id, unpacker


class Layers:
    """The layers below *path*; *touch* is told of every layer that somebody asks for or makes."""

    def __init__(self, path: str, staging: str, db: Database, trash: Trash,
                 touch: Callable[[Digest], None] = lambda _: None, *, sealed: bool = False,
                 seals: Seals | None = None) -> None:
        self.makes_images = sealed  # new layers become EROFS files
        self._seals = seals or Seals()
        self._path, self._staging, self._db, self._trash, self._touch = path, staging, db, trash, touch
        self._locks = KeyLocks()
        self._making = KeyLocks()
        self._guard = threading.Lock()
        for directory in (path, staging):
            os.makedirs(directory, 0o700, exist_ok=True)
        # ext4 then begins each new layer in another part of the disk. Without it new files go where a layer was just
        # removed, and without a journal ext4 steps over each inode freed there in the last minutes, for each new file
        # (fs/ext4/ialloc.c, recently_deleted): a pull after an rmi took five times as long.
        inode_flags.add(staging, inode_flags.FS_TOPDIR_FL)
        self._repair()
        self._number = max([0, *(int(name) for name in os.listdir(path) if name.isdigit())])

    # -- reading -------------------------------------------------------------------------------------

    def has(self, chain_id: Digest) -> bool:
        self._touch(chain_id)
        return self._db.row("SELECT 1 FROM layers WHERE chain_id = ?", chain_id) is not None

    def get(self, chain_id: Digest) -> Layer:
        """Raises `NoSuchContent`."""
        row = self._db.row("SELECT * FROM layers WHERE chain_id = ?", chain_id)
        if row is None:
            raise NoSuchContent(f"layer {chain_id} not found")
        return self._layer(row)

    def _layer(self, row: sqlite3.Row) -> Layer:
        return Layer(Digest(row["chain_id"]), row["parent"] and Digest(row["parent"]), Digest(row["diff_id"]),
                     f"{self._path}/{row['directory']}/fs", row["size"], row["entries"], row["stored"],
                     row["verity"])

    def path(self, chain_id: Digest) -> str:
        """The layer's own root directory."""
        return self.get(chain_id).path

    def stack(self, chain_id: Digest | None) -> list[Layer]:
        """The layer and all below it, the uppermost first."""
        stack = []
        while chain_id is not None:
            stack.append(self.get(chain_id))
            chain_id = stack[-1].parent
        return stack

    def list(self) -> list[Layer]:
        return [self._layer(row) for row in self._db.rows("SELECT * FROM layers")]

    # -- making --------------------------------------------------------------------------------------

    def apply(self, stream: Source, diff_id: Digest, parent: Digest | None = None, *,
              limit_bytes: int | None = None, limit_entries: int | None = None) -> Digest:
        """Unpack the uncompressed tar *stream* on *parent*; its chain id. Nothing is read if it is there.

        *limit_bytes* bounds the tar (default: the free space), *limit_entries* its entries. Raises
        `InvalidLayer`, `DigestMismatch`, `DiskFull`.
        """
        chain = chainid.extend(parent, diff_id)
        with self._locks.hold(chain):
            if not self.has(chain):
                with self.stage(stream, diff_id, limit_bytes=limit_bytes, limit_entries=limit_entries) as staged:
                    self._publish(staged, parent, chain)
        return chain

    @contextmanager
    def making(self, chain_id: Digest) -> Iterator[None]:
        """Hold this from before a layer is looked for until it is published: who wants the same one meanwhile
        waits, and finds it. Lower layers are to be taken before upper ones."""
        with self._making.hold(chain_id):
            yield

    @contextmanager
    def stage(self, stream: Source, diff_id: Digest, *, limit_bytes: int | None = None,
              limit_entries: int | None = None) -> Iterator[Staged]:
        """Unpack and verify; the result is for `publish` and is gone at the end of the context otherwise."""
        directory = f"{self._staging}/{secrets.token_hex(8)}"
        with storage_errors("unpack layer"):
            os.makedirs(f"{directory}/fs", 0o755)
            os.chmod(f"{directory}/fs", 0o755)
        try:
            with self._unpacker(directory, diff_id, limit_entries) as unpacker:
                self._unpack(stream, diff_id, unpacker, limit_bytes)
                yield Staged(directory, diff_id, unpacker)
        finally:
            self._trash.throw(directory)

    def publish(self, staged: Staged, parent: Digest | None) -> Digest:
        """Put *staged* on *parent*; its chain id."""
        chain = chainid.extend(parent, staged.diff_id)
        with self._locks.hold(chain):
            if not self.has(chain):
                self._publish(staged, parent, chain)
        return chain

    def _unpacker(self, directory: str, diff_id: Digest, limit_entries: int | None) -> Unpacker[Any]:
        if self.makes_images:
            return Inodes(f"{directory}/{erofs.IMAGE}", bytes.fromhex(digests.encoded(diff_id))[:16],
                          limit_entries=limit_entries)
        return Extractor(f"{directory}/fs", limit_entries=limit_entries)

    def _unpack(self, stream: Source, diff_id: Digest, unpacker: Unpacker[Any], limit: int | None) -> None:
        hashed = digests.hasher(diff_id)
        source: Source = _Free(stream, self._path)
        if limit is not None:
            source = Bounded(source, limit)
        with Ahead(Hashed(source, hashed)) as ahead:
            archive = TarReader(unpacker.watch(ahead))
            try:
                unpacker.unpack(archive)
                archive.drain()
            except TarError as error:
                raise InvalidLayer(str(error)) from None
        found = digests.from_hash(hashed)
        if found != diff_id:
            raise DigestMismatch(f"filesystem layer verification failed for digest {diff_id}: it is {found}")

    def finish(self, staged: Staged, parent: Digest | None) -> None:
        """Do what only the layers below decide; `publish` does it itself."""
        with self.opened(self.stack(parent)) as roots:
            staged.unpacker.finish(roots)
        erofs.dress(staged.path)

    def opened(self, stack: Sequence[Layer]) -> AbstractContextManager[Paths]:
        """The layers' roots as paths for this process, in the same order, while the context is open."""
        self.verify(stack)
        return erofs.opened([layer.directory for layer in stack], self._staging)

    def verify(self, stack: Sequence[Layer]) -> None:
        """Before a mount: raises `StorageFailure` if a sealed layer isn't the one that was stored."""
        for layer in stack:
            if layer.verity:
                self._seals.check(f"{layer.directory}/{erofs.IMAGE}", layer.verity)

    def can_be_sealed(self) -> bool:
        """Whether the file system under the store has fs-verity."""
        return self._seals.usable(self._staging)

    def seal(self, layer: Layer) -> bool:
        """Seal an EROFS layer whose file is known to be whole; whether it is sealed now."""
        digest = self._seal(layer.directory)
        self._db.run("UPDATE layers SET verity = ? WHERE chain_id = ?", digest, layer.chain_id)
        return digest is not None

    def _seal(self, directory: str) -> str | None:
        return self._seals.seal(f"{directory}/{erofs.IMAGE}") if erofs.is_sealed(directory) else None

    def restore(self, staged: Staged, layer: Layer) -> None:
        """Let the finished *staged* take the place of the damaged files of *layer*."""
        staged.unpacker.close()     # nobody may have it open for writing
        digest = self._seal(staged.path)
        with storage_errors("restore layer"):
            self._flush()
            self._trash.throw(layer.directory)
            os.rename(staged.path, layer.directory)
            fsync_directory(self._path)
        self._db.run("UPDATE layers SET verity = ? WHERE chain_id = ?", digest, layer.chain_id)

    def _publish(self, staged: Staged, parent: Digest | None, chain: Digest) -> None:
        self.finish(staged, parent)
        staged.unpacker.close()
        digest = self._seal(staged.path)
        with storage_errors("store layer"):
            self._flush()
            with self._guard:
                self._number += 1
                number = self._number
            os.rename(staged.path, f"{self._path}/{number}")
            fsync_directory(self._path)
        self._touch(chain)
        try:
            self._db.run("INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", chain, parent, staged.diff_id, number,
                         staged.unpacker.size, staged.unpacker.entries, time.time(), digest)
        except sqlite3.IntegrityError:
            raise NoSuchContent(f"layer {parent} not found") from None

    def _flush(self) -> None:
        fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
        finally:
            os.close(fd)

    # -- removing ------------------------------------------------------------------------------------

    def remove(self, chain_id: Digest) -> int:
        """Forget a layer; the bytes it had, 0 if it isn't there or another one stands on it by now.

        Its files go in the background.
        """
        try:
            layer = self.get(chain_id)
            self._db.run("DELETE FROM layers WHERE chain_id = ?", chain_id)
        except (NoSuchContent, sqlite3.IntegrityError):
            return 0
        self._trash.throw(layer.directory)
        return layer.size

    def forget(self, chain_id: Digest) -> bool:
        """`remove`; whether it is off the record."""
        self.remove(chain_id)
        return not self.has(chain_id)

    def _repair(self) -> None:
        """Throw away what a killed server left half-made."""
        for name in os.listdir(self._staging):
            self._trash.throw(f"{self._staging}/{name}")
        known = {str(row[0]) for row in self._db.rows("SELECT directory FROM layers")}
        for name in os.listdir(self._path):
            if name not in known:
                self._trash.throw(f"{self._path}/{name}")


class _Free:
    """Raises `DiskFull` instead of filling the disk to the last byte: looks now and then what is left."""

    def __init__(self, source: Source, path: str) -> None:
        self._source, self._path, self._until_look = source, path, 0

    def read(self, size: int = -1, /) -> bytes:
        piece = self._source.read(size)
        self._until_look -= len(piece)
        if self._until_look < 0:
            found = os.statvfs(self._path)
            free = found.f_bavail * found.f_frsize
            if free < _RESERVE:
                raise DiskFull(f"unpack layer: {_RESERVE >> 20} MiB of the disk are to stay free: "
                               "no space left on device")
            self._until_look = min(_RESERVE, free) // 4
        return piece
