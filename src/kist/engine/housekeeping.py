"""What the store needs done beside requests: garbage collected, and the cache kept within its budget.

A collection runs when the server has started and once a day. `storage.max` in the configuration is looked
at then, too, and after whatever brings an image: the least recently used images go until the rest fits, never one
that a container stands on. When an image was last used is written now and then, not at each `run`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kist.engine.parts import Parts
from kist.errors import KistError
from kist.oci.digest import Digest

if TYPE_CHECKING:
    from kist.engine.container import Container
    from kist.store.check import Finding

log = logging.getLogger(__name__)
DAY = 24 * 3600.0
START_AFTER = 5.0  # seconds: who has just started the server waits for something else


class Housekeeping:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._used: dict[Digest, float] = {}
        self._lock = asyncio.Lock()

    def start(self) -> None:
        self._parts.background.spawn(self._daily(), "housekeeping")

    def used(self, image: Digest) -> None:
        """A container was made of the image just now."""
        self._used[image] = time.time()

    def grown(self) -> None:
        """The store has got something new."""
        if self._parts.config.storage_max:
            self._parts.background.spawn(self.trim(), "storage.max")

    async def _daily(self) -> None:
        await asyncio.sleep(START_AFTER)
        while True:
            try:
                freed = await asyncio.to_thread(self._parts.store.gc)
                if freed.contents or freed.layers:
                    log.info("collected %d contents and %d layers, %d bytes", freed.contents, freed.layers, freed.size)
                await self.trim()
            except Exception:
                log.exception("housekeeping failed")
            await asyncio.sleep(DAY)

    async def trim(self) -> None:
        """Write down what was used, and keep the cache within `storage.max`."""
        async with self._lock:
            used, self._used = self._used, {}
            keep = frozenset(Digest(image_id) for container in self._parts.register.all()
                             for image_id in container.record.image_ids)
            removed = await asyncio.to_thread(self._trim, used, keep)
        for image, names in removed:
            log.info("storage.max: removed %s (%s)", image, ", ".join(names) or "no name")
            self._parts.events.publish("image", "delete", image, {"name": image})

    def _trim(self, used: dict[Digest, float], keep: frozenset[Digest]) -> list[tuple[Digest, list[str]]]:
        store = self._parts.store
        for image, when in used.items():
            store.images.touch(image, when)
        limit = self._parts.config.storage_max
        return [(image.id, image.tags) for image in store.keep_within(limit, keep)] if limit else []

    async def check(self, *, repair: bool, report: Callable[[str], object]) -> list[Finding]:
        """`kist system check`: every content and layer is read again; *report* is told of each before."""
        from kist.store.check import check

        loop = asyncio.get_running_loop()
        busy = frozenset(container.id for container in self._parts.register.all() if container.alive)
        found = await asyncio.to_thread(lambda: check(
            self._parts.store, repair=repair, busy=busy,
            report=lambda what: loop.call_soon_threadsafe(report, what)))
        return found + await asyncio.to_thread(self._check_containers, repair)

    def _check_containers(self, repair: bool) -> list[Finding]:
        """What a container wrote is nowhere else: a loss of that can only be told of."""
        from kist.store.check import Finding

        found = []
        for container in self._parts.register.all():
            problem = self._parts.store.snapshots.problem(container.id)
            if problem and container in self._parts.register.all():  # it may have been removed meanwhile
                found.append(Finding(f"container {container.name}", problem, repair and self._mended(container)))
        return found

    def _mended(self, container: Container) -> bool:
        chain, snapshots = container.record.chain_id, self._parts.store.snapshots
        try:
            snapshots.stand_on(container.id, Digest(chain) if chain else None)
        except KistError:
            return False
        return snapshots.problem(container.id) is None
