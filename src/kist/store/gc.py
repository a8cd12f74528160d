"""Garbage collection: what no root needs any more goes.

    roots   images → index, manifest, configuration, layers; snapshots → layers; leases

Leases (`leases`) protect work in progress, also from a collection that looked before the work was recorded:
a collection holds a lease itself, so it spares what was touched since it looked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kist.errors import KistError
from kist.oci.digest import Digest
from kist.store.content import DiskContent
from kist.store.images import Image, Images
from kist.store.layers import Layers
from kist.store.leases import Leases
from kist.store.snapshots import Driver

log = logging.getLogger(__name__)


class Freed(NamedTuple):
    """What a collection removed: numbers of contents and layers, bytes of both together."""

    contents: int
    layers: int
    size: int


class Collector:
    """Removes what isn't needed."""

    def __init__(self, content: DiskContent, layers: Layers, images: Callable[[], Images],
                 snapshots: Driver, leases: Leases) -> None:
        self._content, self._layers, self._images = content, layers, images
        self._snapshots, self._leases = snapshots, leases

    def collect(self, grace: float = 0.0) -> Freed:
        """Everything unneeded; unneeded content younger than *grace* seconds stays (a pull may go on with it)."""
        with self._leases.lease():
            needed = self._needed()
            contents = [digest for digest in self._content.list()
                        if digest not in needed and self._content.age(digest) >= grace]
            layers = [layer.chain_id for layer in self._layers.list() if time.time() - layer.stored >= grace]
            # A pull in progress may break off, and be gone on with: what it has is spared for good.
            freed = self._remove(contents, layers, needed, later=False)
        return freed._replace(size=freed.size + self._content.drop_partials(grace))

    def forget(self, image: Image, contents: Iterable[Digest]) -> Freed:
        """What only *image* (which is no longer recorded) needed."""
        with self._leases.lease():
            parents = {layer.chain_id: layer.parent for layer in self._layers.list()}
            return self._remove(contents, _chain(image.chain_id, parents), self._needed())

    def discard(self, contents: Iterable[Digest]) -> Freed:
        """Those of *contents* that aren't needed."""
        with self._leases.lease():
            return self._remove(contents, [], self._needed())

    def release(self, tops: Iterable[Digest]) -> None:
        """Those of these layers, and of those below them, that nothing needs."""
        parents = {layer.chain_id: layer.parent for layer in self._layers.list()}
        self.catch_up([chain for top in tops for chain in _chain(top, parents)])

    def catch_up(self, spared: Sequence[str]) -> None:
        """Remove what should have gone, but was in use. A failure leaves it to the next collection."""
        known = {layer.chain_id for layer in self._layers.list()}
        chains = [Digest(digest) for digest in spared if digest in known]
        try:
            with self._leases.lease():
                self._remove([Digest(digest) for digest in spared if digest not in known], chains, self._needed())
        except (KistError, OSError) as error:
            log.warning("removing what was in use: %s", error)

    def in_use(self) -> set[Digest]:
        """The chain ids that snapshots stand on."""
        return {chain for chain in self._snapshots.chains().values() if chain is not None}

    def _needed(self) -> set[Digest]:
        needed: set[Digest] = set()
        chains = self.in_use()
        for image in self._images().list():
            if image.chain_id is not None:
                chains.add(image.chain_id)
            needed.update(self._images().contents(image))
        parents = {layer.chain_id: layer.parent for layer in self._layers.list()}
        for chain in chains:
            needed.update(_chain(chain, parents))
        return needed

    def _remove(self, contents: Iterable[Digest], chains: Iterable[Digest], needed: set[Digest], *,
                later: bool = True) -> Freed:
        blobs = size = 0
        for digest in dict.fromkeys(contents):
            if digest not in needed:
                freed = self._leases.remove(digest, partial(self._content.delete, digest), later=later)
                blobs += bool(freed)
                size += freed or 0
        removed, freed_layers = self._remove_layers([chain for chain in chains if chain not in needed], later)
        return Freed(blobs, removed, size + freed_layers)

    def _remove_layers(self, chains: list[Digest], later: bool) -> tuple[int, int]:
        """The uppermost first: a layer goes after those that stand on it."""
        count = size = 0
        known = {layer.chain_id: layer for layer in self._layers.list()}
        waiting = {chain for chain in chains if chain in known}
        while waiting:
            parents = {known[chain].parent for chain in known}
            tops = [chain for chain in waiting if chain not in parents]
            if not tops:
                break
            for chain in tops:
                waiting.discard(chain)
                freed = self._leases.remove(chain, partial(self._layers.remove, chain), later=later)
                if freed is not None:
                    del known[chain]
                    count, size = count + 1, size + freed
                elif later:     # those below it have to wait for it
                    self._leases.defer(_chain(chain, {one: layer.parent for one, layer in known.items()}))
        return count, size


def _chain(top: Digest | None, parents: Mapping[Digest, Digest | None]) -> Iterator[Digest]:
    """*top* and all below it, as far as they are there."""
    while top is not None and top in parents:
        yield top
        top = parents[top]
