"""At start: bring records, monitors and files in line, however the last server ended.

::

    record says            there is              so it
    ─────────────────────  ────────────────────  ─────────────────────────────────────────────
    running, paused        a monitor             runs on: adopt it
                           an exit.json          has ended meanwhile: that status
                           neither               was taken down with the machine: 255
    created, exited        a monitor             was being started when the server died: adopt it
    removing               –                     is removed
    (no record)            directories,          was being created or removed: cleared away
                           snapshot
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from kist.engine import links, rates, restarts, states, times
from kist.engine.alter import settled
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.engine.prepare import image_mounts
from kist.engine.records import ContainerRecord
from kist.engine.spec.resources import REMOVABLE
from kist.engine.start import failure_words
from kist.engine.update import apply_limits
from kist.errors import KistError
from kist.launcher.client import Exit, LaunchError, MonitorLink, cleanup, read_exit

if TYPE_CHECKING:
    from kist.engine.execs import Execs
    from kist.engine.lifecycle import Lifecycle
    from kist.engine.remove import Remove

log = logging.getLogger(__name__)
KILLED_WITH_THE_MACHINE = 255  # the status that Docker gives


# Not lifted on suspicion: a group may have them from its parent, or by another of them.
KEPT = ("BlkioWeight", "CpusetCpus", "CpusetMems", "CpuPeriod", "CpuQuota")


class Recovery:
    def __init__(self, parts: Parts, lifecycle: Lifecycle, remove: Remove, execs: Execs) -> None:
        self._parts = parts
        self._lifecycle = lifecycle
        self._remove = remove
        self._execs = execs
        self._to_start: list[Container] = []
        self._unhealthy: list[Container] = []

    async def run(self) -> None:
        """All containers are known and right when this returns; policies start theirs afterwards."""
        records = await asyncio.to_thread(self._parts.records.containers)
        for record in records:
            self._parts.register.add(Container(record))
        await asyncio.to_thread(self._clear_leftovers, {record.id for record in records})
        await asyncio.gather(*(self._one(container) for container in self._parts.register.all()))

    def _clear_leftovers(self, known: set[str]) -> None:
        """Directories and snapshots without a record."""
        parts = self._parts
        kept = known | {key for container in parts.register.all() for key, _ in image_mounts(container.record)}
        for container_id in (parts.places.known() | set(parts.store.snapshots.chains())) - kept:
            try:
                cleanup(parts.places.run_dir(container_id))
                parts.store.snapshots.remove(container_id)
                parts.places.discard(container_id)
            except (OSError, KistError) as error:
                log.warning("clearing what is left of container %s: %s", container_id, error)
        parts.places.trash.empty()

    async def _one(self, container: Container) -> None:
        try:
            await self._restore(container)
        except (KistError, LaunchError, OSError) as error:
            log.error("restoring container %s: %s", container.id, error)

    async def _restore(self, container: Container) -> None:
        record = container.record
        if record.state in (states.REMOVING, states.DEAD):
            record.state = states.DEAD
            await self._remove.run(container, self._lifecycle, force=True, volumes=False)
            return
        try:
            link = await MonitorLink.connect(self._parts.places.run_dir(record.id))
        except (OSError, LaunchError):
            await self._not_running(container)
            return
        await self._adopt(container, link)

    async def _adopt(self, container: Container, link: MonitorLink) -> None:
        """It runs: network, execs, health and end are followed again."""
        record = container.record
        container.link = link
        container.begin_run()
        record.pid, record.was_started = link.pid, True
        record.state = states.PAUSED if link.paused else states.RUNNING
        record.started_at = int(link.started_at * 1e9)
        record.exit_code, record.error = 0, ""
        if record.endpoint is not None:
            container.endpoint = await self._parts.networks.adopt(record.id, record.endpoint, link.pid)
        if record.unapplied:  # an update was cut short
            await apply_limits(record, link, self._parts.host, [  # which ones it lifted isn't known any more
                name for name in REMOVABLE if not record.host[name] and name not in KEPT])
            record.host = settled(record.host)
            await self._parts.networks.limit(record.id, rates.exact(record.host))
            record.unapplied = False
        self._execs.adopt(container)
        self._lifecycle.watch(container, adopted=True)
        if record.restart_wanted:
            self._unhealthy.append(container)
        self._parts.records.save(record)

    async def _not_running(self, container: Container) -> None:
        record = container.record
        was_running = record.state in (states.RUNNING, states.PAUSED, states.RESTARTING)
        end = await asyncio.to_thread(read_exit, self._parts.places.data_dir(record.id))
        unseen = end is not None and int(end.finished_at * 1e9) > record.finished_at
        if was_running:
            await asyncio.to_thread(cleanup, self._parts.places.run_dir(record.id))
            await asyncio.to_thread(self._parts.places.unmount_shm, record.id)
        if was_running or unseen:
            self._record_end(record, end if unseen else None)
        record.endpoint = None
        container.end_run(for_good=True)
        self._lifecycle.recovered(container)
        if record.restart_wanted and not record.stopped_by_user:
            self._to_start.append(container)
        elif record.host["AutoRemove"] and (record.was_started or unseen):
            await self._remove.auto(container)
        elif record.was_started and restarts.at_server_start(
                record.host["RestartPolicy"], exit_code=record.exit_code, restart_count=record.restart_count,
                stopped_by_user=record.stopped_by_user, was_running=was_running):
            self._to_start.append(container)

    def _record_end(self, record: ContainerRecord, end: Exit | None) -> None:
        """The run's end as its monitor wrote it; None: nobody saw it, or (restarting) it is on record already."""
        if end is not None and end.error:  # a start that failed: the state stays as it was
            record.error, record.exit_code = failure_words(end.error), end.status
            record.state = states.EXITED if record.was_started else states.CREATED
        else:
            if end is not None:
                record.exit_code, record.oom_killed = end.status, end.oom
                record.finished_at = int(end.finished_at * 1e9)
            elif record.state != states.RESTARTING:
                record.exit_code, record.finished_at = KILLED_WITH_THE_MACHINE, times.now()
            record.state, record.was_started = states.EXITED, True
        record.pid = 0
        self._parts.events.publish("container", "die", record.id, {
            **(record.config.get("Labels") or {}), "image": record.image, "name": record.name,
            "exitCode": str(record.exit_code),
            "execDuration": str(max(0, record.finished_at - record.started_at) // 1_000_000_000)},
            at=record.finished_at)
        self._parts.records.save(record)

    def start_by_policy(self) -> None:
        """Once everything is open: what `--restart` wants up, without holding the server's start."""
        started = {container.id: asyncio.Event() for container in self._to_start}
        for container in self._to_start:
            self._parts.background.spawn(self._start(container, started), f"start of {container.id[:12]}")
        for container in self._unhealthy:
            self._parts.background.spawn(self._lifecycle.unhealthy(container), f"restart of {container.id[:12]}")
        self._to_start, self._unhealthy = [], []

    async def _start(self, container: Container, started: dict[str, asyncio.Event]) -> None:
        """Those that it is linked to come first (a link can't be to a later container: there are no circles)."""
        for identity in links.needed(container.record) & started.keys():
            await started[identity].wait()
        try:
            await self._lifecycle.start(container)
        except KistError as error:
            log.warning("restarting container %s: %s", container.id, error)
        finally:
            started[container.id].set()
