"""The API of volumes: what there is, and whole volumes in and out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from kist.api import bodies
from kist.api.options import Filters
from kist.engine import names, selection, times
from kist.engine.mountpoints import check_volume_name, no_driver
from kist.engine.parts import Parts
from kist.engine.records import VolumeRecord
from kist.engine.volumes import driver, recovery
from kist.engine.volumes.mounts import ANONYMOUS, VolumeMounts
from kist.engine.volumes.table import VolumeTable
from kist.errors import Conflict, InvalidParameter

Json = dict[str, Any]
Rows = list[Json]
Texts = list[str]
FILTERS = frozenset({"dangling", "driver", "label", "name"})
SNAPSHOT_OF = "kist.volume.snapshot-of"


class Volumes:
    """`mounts` is for the containers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._table = VolumeTable(parts)
        self._use, self._content = self._table.use, self._table.content
        self.mounts = VolumeMounts(parts, self._table)

    async def recover(self) -> None:
        """At the server's start."""
        await recovery.recover(self._parts, self._table, self.mounts)

    # What there is

    async def list(self, filters: Filters | None = None) -> Json:
        selection.check(filters or {}, FILTERS)
        selection.truth("dangling", (filters or {}).get("dangling", []))
        found = [record for record in self._table.all() if self._matches(record, filters or {})]
        return {"Volumes": [self._table.view(record) for record in sorted(found, key=lambda record: record.name)],
                "Warnings": None}

    async def inspect(self, name: str) -> Json:
        return self._table.view(self._table.get(name))

    async def create(self, body: bodies.VolumeCreate) -> Json:
        if body.ClusterVolumeSpec:
            raise InvalidParameter("cluster volumes need a swarm")
        name = check_volume_name(body.Name, "create") if body.Name else names.new_id()
        if body.Driver not in ("", "local"):
            raise no_driver(name, body.Driver)
        if self._table.find(name) is None:  # of one that is there nothing is changed, and no option looked at
            driver.check(name, body.DriverOpts or {})
            self._use.check_open(name)
        labels = body.Labels
        if not body.Name:
            labels = {**(labels or {}), ANONYMOUS: ""}
        record = await self._table.ensure(VolumeRecord(name=name, created=times.now(), labels=labels,
                                                 options=body.DriverOpts, anonymous=not body.Name))
        return self._table.view(record)

    async def remove(self, name: str, *, force: bool = False) -> None:
        if self._table.find(name) is None and force:
            return
        record = self._table.get(name)
        users = self._table.users(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        self._check_idle(record)
        if not await self._table.delete(record) and self._table.find(name) is record:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(self._table.users(name))}]")

    async def prune(self, filters: Filters) -> Json:
        """Anonymous ones that no container has, or all such; what lies elsewhere is for `rm` (as Docker)."""
        selection.check(filters, frozenset({"all", "label", "label!"}))
        everything = _all(filters.get("all", []))
        rest = {name: values for name, values in filters.items() if name != "all"}
        gone: Texts = []
        freed = 0
        for record in self._table.all():
            wanted = (everything or record.anonymous) and self._matches(record, rest)
            if not wanted or driver.is_elsewhere(record.options) or self._is_used(record.name):
                continue
            size = await asyncio.to_thread(self._table.size, record)
            if await self._table.delete(record):
                freed += size
                gone.append(record.name)
        self._parts.events.publish("volume", "prune", "", {"reclaimed": str(freed)})
        return {"VolumesDeleted": gone, "SpaceReclaimed": freed}

    async def usage(self) -> Rows:
        """All that take the disk here with their sizes, for `system df`."""
        found = []
        for record in [record for record in self._table.all() if not driver.is_elsewhere(record.options)]:
            size = await asyncio.to_thread(self._table.size, record)
            found.append({**self._table.view(record),
                          "UsageData": {"Size": size, "RefCount": len(self._table.users(record.name))}})
        return found

    # Content

    async def export(self, name: str) -> AsyncIterator[bytes]:
        record = self._table.get(name)
        self._use.check_open(name)
        return self._content.export(record)

    async def import_(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """A tar into the volume, which is made if there is none; all of it or nothing."""
        there = self._table.find(check_volume_name(name, "import"))
        record = there or VolumeRecord(name=name, created=times.now())
        with self._alone(record, "imported"):
            await self._content.unpack(record, chunks, new=there is None)
            if there is None:
                await self._table.add(record)

    async def snapshot(self, name: str, target: str, *, pause: bool = True) -> Json:
        """A new volume with the content that `name` has now."""
        record = self._table.get(name)
        target = check_volume_name(target, "snapshot") if target else f"{name}-{times.stamp()}"
        if self._table.find(target) is not None:
            raise Conflict(f"volume {target} already exists")
        quota = driver.quota(record.options)
        made = VolumeRecord(name=target, created=times.now(), labels={**(record.labels or {}), SNAPSHOT_OF: name},
                            options=record.options if quota else None)
        made.labels = {key: value for key, value in (made.labels or {}).items() if key != ANONYMOUS}
        with self._use.closed(target, "made"):
            copied = await self._content.snapshot(record, made, self._table.running(name) if pause else [])
            await self._table.add(made)
        return {**self._table.view(made), "Cloned": copied.cloned, "Copied": copied.copied}

    async def restore(self, name: str, source: str) -> Json:
        """The volume's content becomes that of another one, a snapshot of it as a rule."""
        record, other = self._table.get(name), self._table.get(source)
        if record is other:
            raise InvalidParameter("a volume can't be restored from itself")
        if driver.is_elsewhere(record.options):
            raise InvalidParameter(f"volume {name} is mounted from elsewhere: import an export of {source} into it")
        with self._alone(record, "restored"):
            copied = await self._content.restore(record, other)
        return {**self._table.view(record), "Cloned": copied.cloned, "Copied": copied.copied}

    @contextmanager
    def _alone(self, record: VolumeRecord, why: str) -> Iterator[None]:
        users = [container.id for container in self._table.running(record.name)]
        if users:
            raise Conflict(f"volume {record.name} can't be {why}: it is in use by running containers - "
                           f"[{', '.join(users)}]")
        with self._use.closed(record.name, why):
            yield

    # Below

    def _is_used(self, name: str) -> bool:
        return bool(self._table.users(name) or self._use.users(name))

    def _check_idle(self, record: VolumeRecord) -> None:
        self._use.check_open(record.name)
        if self._use.users(record.name):
            raise Conflict(f"remove {record.name}: volume is in use")

    def _matches(self, record: VolumeRecord, filters: Filters) -> bool:
        labels = record.labels or {}
        tests = {
            "name": lambda values: any(selection.search(value, record.name) for value in values),
            "driver": lambda values: record.driver in values,
            "label": lambda values: all(selection.has_label(labels, value) for value in values),
            "label!": lambda values: not all(selection.has_label(labels, value) for value in values),
            "dangling": lambda values: (not self._table.users(record.name)) == selection.truth("dangling", values),
        }
        return all(tests[name](values) for name, values in filters.items() if values)


def _all(values: list[str]) -> bool:
    try:
        return selection.truth("all", values)
    except InvalidParameter:
        raise InvalidParameter(f"invalid filter 'all': strconv.ParseBool: parsing \"{values[0]}\": invalid syntax"
                               ) from None
