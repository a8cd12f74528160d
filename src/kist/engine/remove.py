"""Remove: the record first, then everything that it named. What dies in between is cleared at the next start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kist.engine import states
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.engine.prepare import image_mounts
from kist.errors import EngineFailure, KistError, Unavailable

if TYPE_CHECKING:
    from kist.engine.execs import Execs
    from kist.engine.lifecycle import Lifecycle
    from kist.engine.volumes.mounts import VolumeMounts


class Remove:
    def __init__(self, parts: Parts, volumes: VolumeMounts, execs: Execs) -> None:
        self._parts = parts
        self._execs = execs
        self._volumes = volumes

    async def run(self, container: Container, lifecycle: Lifecycle, *, force: bool, volumes: bool) -> None:
        """`volumes`: its anonymous volumes too."""
        action = "remove by force" if force else "remove"
        container.check(action)
        if force:
            await self._end(container, lifecycle)
        async with container.lock:
            if container.removed.done():
                return
            container.check(action)
            await self._take_away(container, volumes=volumes)

    async def auto(self, container: Container) -> None:
        """--rm: the container has ended (or could not be started); its anonymous volumes go too."""
        async with container.lock:
            if container.state in states.MAY["remove"] and not container.removed.done():
                await self._take_away(container, volumes=True)

    async def _end(self, container: Container, lifecycle: Lifecycle) -> None:
        if container.state == states.RESTARTING:
            await lifecycle.stop(container, 0, None)
        elif container.alive:
            await lifecycle.kill_and_wait(container)

    async def _take_away(self, container: Container, *, volumes: bool) -> None:
        parts, record = self._parts, container.record
        before, record.state = record.state, states.REMOVING
        container.cancel_restart()
        container.drop_parked()
        try:
            await self._forget(container)
            await asyncio.to_thread(self._discard, container)
        except (KistError, OSError) as error:
            record.state = states.DEAD if before != states.DEAD else before
            record.error = f"cannot remove container \"/{record.name}\": {error}"
            parts.records.save(record)
            raise EngineFailure(record.error) from error
        parts.register.discard(container)
        self._execs.forget(container)
        if volumes:
            await self._volumes.remove_anonymous(record)
        parts.events.publish("container", "destroy", container.id, container.attributes())
        container.end_run(for_good=True)
        if not container.removed.done():
            container.removed.set_result(None)

    async def _forget(self, container: Container) -> None:
        """On a full disk what the container holds goes first: that makes the room to write that it is gone."""
        try:
            await self._parts.records.forget(container.id)
        except Unavailable:
            await asyncio.to_thread(self._discard, container)
            await asyncio.to_thread(self._parts.store.wait_for_trash)
            await asyncio.to_thread(self._parts.places.trash.wait)
            await self._parts.records.forget(container.id)

    def _discard(self, container: Container) -> None:
        self._parts.store.drop_snapshots([container.id, *(key for key, _ in image_mounts(container.record))])
        self._parts.places.discard(container.id)
