"""The store of one server: everything below its data directory that concerns images and snapshots.

    store.db            records (`db`)
    store.lock          held while a server has the store open
    content/            blobs by digest (`content`)
    layers/             unpacked layers (`layers`)
    snapshots/          containers' file systems (`snapshots.overlay`)
    staging/  trash/    what is being made, what is being deleted

A whole image is put together as: `lease`, `assemble` (fetch and unpack the layers), ``images.put``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from kist.errors import InvalidParameter
from kist.oci.digest import Digest
from kist.store import erofs
from kist.store.content import DiskContent
from kist.store.db import Database
from kist.store.errors import NoSuchContent, StoreInUse, storage_errors
from kist.store.gc import Collector, Freed
from kist.store.images import Image, Images
from kist.store.layers import Layers
from kist.store.leases import Leases
from kist.store.make import LayerSink
from kist.store.sealing import Seals
from kist.store.snapshots import Driver
from kist.store.snapshots.overlay import OverlaySnapshots
from kist.store.trash import Trash

#: `storage.driver`: layers as directories, or as one EROFS file each; overlayfs makes containers' roots of both.
DRIVERS = ("overlay", "erofs")
#: How long content that no image needs stays for an interrupted pull to go on with, in seconds.
GRACE = 24 * 3600.0
#: Characters that overlayfs' options give a meaning of their own.
_SPECIAL = frozenset(":,\\\"")


class Store:
    """`Store.open` it, `close` it; all methods of its parts may be called from any thread."""

    content: DiskContent
    layers: Layers
    images: Images
    snapshots: Driver

    def __init__(self, path: str, stack: ExitStack, driver: str, seals: Seals) -> None:
        self.path = path
        self._stack = stack
        self._leases = Leases()
        self._trash = Trash(f"{path}/trash")
        stack.callback(self._trash.close)
        self._db = Database(f"{path}/store.db")
        stack.callback(self._db.close)
        touch = self._leases.touch
        self.content = DiskContent(f"{path}/content", self._trash, touch)
        self.layers = Layers(f"{path}/layers", f"{path}/staging", self._db, self._trash, touch,
                             sealed=driver == "erofs", seals=seals)
        self.images = Images(self._db, self.content, self.layers, self._image_removed, touch)
        self.snapshots = OverlaySnapshots(f"{path}/snapshots", f"{path}/staging", self.layers, self._trash,
                                          self._leases)
        self._collector = Collector(self.content, self.layers, lambda: self.images, self.snapshots, self._leases)
        self._leases.when_idle(self._collector.catch_up)
        self._trash.empty()

    @classmethod
    def open(cls, path: str, driver: str = "overlay", *, seals: Seals | None = None) -> Store:
        """Open the store at *path*, made if missing; what a killed server left half-made is thrown away.

        *driver*: what new layers become, one of `DRIVERS`; those of the other kind stay usable.
        Raises `StoreInUse` if another server has it, `StorageFailure` if its records can't be read.
        """
        path = os.path.abspath(path)
        if set(path) & _SPECIAL:
            raise InvalidParameter(f"data directory {path!r}: overlayfs takes no path with one of : , \\ \"")
        if driver not in DRIVERS:
            raise InvalidParameter(f"storage.driver must be one of {', '.join(DRIVERS)}")
        with ExitStack() as stack, storage_errors(f"open store {path}"):
            os.makedirs(path, 0o700, exist_ok=True)
            stack.enter_context(_lock(f"{path}/store.lock"))
            if driver == "erofs":
                os.makedirs(f"{path}/staging", 0o700, exist_ok=True)
                erofs.check_usable(f"{path}/staging")
            store = cls(path, stack, driver, seals or Seals())
            store._stack = stack.pop_all()
            return store

    def close(self) -> None:
        """Stop the background work and give the store free."""
        self._stack.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Until the context ends, nothing that anybody looks at or stores is collected."""
        with self._leases.lease():
            yield

    @contextmanager
    def layer_sink(self) -> Iterator[LayerSink]:
        """A writer for a new layer: give it to ``snapshots.commit``, or write a tar; then ``commit`` it."""
        with self.content.spool() as spool:
            yield LayerSink(spool)

    def gc(self, grace: float = GRACE) -> Freed:
        """Remove what nothing needs, but content that was stored in the last *grace* seconds."""
        return self._collector.collect(grace)

    def size(self) -> int:
        """Bytes that contents and layers have together (snapshots aren't counted)."""
        return self.content.total_size() + sum(layer.size for layer in self.layers.list())

    def keep_within(self, budget: int, keep: frozenset[Digest] = frozenset()) -> list[Image]:
        """Remove images, the least recently used first, until the store has at most *budget* bytes.

        Images that a snapshot stands on or that are in *keep* stay. The removed ones are returned.
        """
        removed: list[Image] = []
        for image in sorted(self.images.list(), key=lambda image: image.used):
            if self.size() <= budget:
                break
            if image.id not in keep and image.chain_id not in self._collector.in_use():
                removed.append(self.images.delete(image.id))
        return removed

    def drop_snapshots(self, keys: Iterable[str]) -> None:
        """Remove snapshots, and what only they still held: the layers of an image that was removed before them."""
        chains = set()
        for key in keys:
            with suppress(NoSuchContent):
                chains.add(self.snapshots.chain_id(key))
            self.snapshots.remove(key)
        orphans = [chain for chain in chains if chain is not None and not self.images.any_on(chain)]
        if orphans:
            self._collector.release(orphans)

    def discard(self, contents: Iterable[Digest]) -> None:
        """Remove those of *contents* that no image and no lease needs, however young."""
        self._collector.discard(contents)

    def broken_records(self) -> str | None:
        """What is wrong with the file of the records; None if it is whole."""
        return self._db.broken()

    def verity(self) -> str:
        """What fs-verity does for the layers, in words."""
        images = [layer for layer in self.layers.list() if layer.image]
        if not images and not self.layers.makes_images:
            return "not used: layers are directories"
        if not self.layers.can_be_sealed():
            return "not in force: the file system of the data directory has none"
        return f"in force for {sum(layer.verity is not None for layer in images)} of {len(images)} EROFS layers"

    def wait_for_trash(self) -> None:
        """Return when all that was removed is off the disk."""
        self._trash.wait()

    def _image_removed(self, image: Image, contents: Sequence[Digest]) -> None:
        self._collector.forget(image, contents)


@contextmanager
def _lock(path: str) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreInUse(f"the store {os.path.dirname(path)} is in use by another server") from None
        yield
    finally:
        os.close(fd)
