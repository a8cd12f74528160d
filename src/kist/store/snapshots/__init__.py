"""Snapshots: the writable file system of one container on top of an image's layers.

A driver owns a directory of the store and answers with mounts as data; who runs the container mounts them,
in the container's own mount namespace, so that nothing stays mounted on the host. `overlay` makes them of layers
that are directories or (`storage.driver = "erofs"`) one file each; both pass one suite
(tests/kernel/store/test_store_snapshots.py).
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import NotRequired, Protocol, TypedDict

from kist.oci.digest import Digest
from kist.store.tarread import Source
from kist.store.tarwrite import Sink
from kist.store.tree import Change, Usage

__all__ = ["Driver", "Mount", "Quota", "Sink", "Source"]


class Mount(TypedDict):
    """One mount as the OCI runtime specification spells it; without a destination it is the root itself."""

    type: str
    source: str
    options: list[str]
    destination: NotRequired[str]


class Quota(TypedDict):
    """The bound of a writable layer as the runtime takes it (`kist.storageQuota`): the overlay's options say ``QUOTA``
    for where `image` is mounted. `size` in bytes."""

    image: str
    size: int


class Driver(Protocol):
    """A kind of snapshots. *key* names one: the container's id. All methods may be called from any thread.

    Methods that take a key raise `NoSuchContent` if there is no such snapshot.
    """

    name: str

    def prepare(self, key: str, chain_id: Digest | None, *, volatile: bool = False, quota: int = 0) -> list[Mount]:
        """Make a snapshot on a stack of layers (None: on nothing); raises `Conflict` if there is one.

        *volatile*: its data needn't survive power loss (a container that is removed at its end anyway), so
        that unmounting doesn't flush the disk. *quota*: as many bytes can be written to it, then comes ENOSPC;
        raises `InvalidParameter` where that can't be had.
        """

    def preview(self, chain_id: Digest | None) -> list[Mount]:
        """What `prepare` would answer; nothing is made."""

    def mounts(self, key: str) -> list[Mount]:
        """The mounts that make up its root, for each start."""

    def quota(self, key: str) -> Quota | None:
        """Where its bounded layer is, if it was given a bound."""

    def view(self, key: str) -> AbstractContextManager[int]:
        """An O_PATH descriptor of the whole root file system, for reading; the container may run meanwhile."""

    def edit(self, key: str) -> AbstractContextManager[int]:
        """The same for writing, as the container would; the caller sees to it that it isn't started meanwhile."""

    def view_image(self, chain_id: Digest | None) -> AbstractContextManager[int]:
        """The same of a stack of layers without a container on it."""

    def chain_id(self, key: str) -> Digest | None: ...

    def usage(self, key: str) -> Usage:
        """What the container wrote."""

    def diff(self, key: str) -> list[Change]:
        """What the container changed, in the order of the paths."""

    def export(self, key: str, sink: Sink) -> None:
        """Write the whole root file system as a tar."""

    def commit(self, key: str, sink: Sink, leave_out: Collection[bytes] = ()) -> None:
        """Write what the container changed as an uncompressed layer. *leave_out*: relative paths of mount points,
        which are no work of the container's as long as nothing is in them."""

    def remove(self, key: str) -> bool:
        """Gone at once, freed in the background; False if there was none."""

    def problem(self, key: str) -> str | None:
        """What of the snapshot isn't there, in words; None if it is whole, as far as that can be seen."""

    def stand_on(self, key: str, chain_id: Digest | None) -> None:
        """Note again what it stands on, where that was lost."""

    def chains(self) -> dict[str, Digest | None]:
        """All keys, and the stack of layers that each holds."""
