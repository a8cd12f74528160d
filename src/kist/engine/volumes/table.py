"""Which volumes there are, and which containers have them. They are made and removed here, whole or not at all."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec

from kist.engine import times
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.engine.records import VolumeRecord
from kist.engine.volumes import driver
from kist.engine.volumes.content import VolumeContent
from kist.engine.volumes.use import VolumeUse
from kist.errors import Conflict, EngineFailure, NotFound
from kist.store import tree

Json = dict[str, Any]


class VolumeTable:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.use = VolumeUse(parts.config.data, parts.config.volumes_dir)
        self.content = VolumeContent(parts, self.use)
        self._all: dict[str, VolumeRecord] = {record.name: record for record in parts.records.volumes()}
        self._lock = asyncio.Lock()

    # What there is

    def all(self) -> list[VolumeRecord]:
        """A list of the caller's own: what is removed meanwhile stays in it."""
        return list(self._all.values())

    def find(self, name: str) -> VolumeRecord | None:
        return self._all.get(name)

    def get(self, name: str) -> VolumeRecord:
        found = self._all.get(name)
        if found is None:
            raise NotFound(f"get {name}: no such volume")
        return found

    def path(self, name: str) -> str:
        return self.use.data(name)

    def containers(self, name: str) -> list[Container]:
        """Those that have the volume, running or not."""
        return [container for container in self._parts.register.all()
                if any(mount.type == "volume" and mount.name == name for mount in container.record.all_mounts)]

    def users(self, name: str) -> list[str]:
        """Ids of the containers that have the volume, or get it right now."""
        found = [container.id for container in self.containers(name)]
        return found + sorted(self.use.claimants(name) - set(found))

    def running(self, name: str) -> list[Container]:
        return [container for container in self.containers(name) if container.alive]

    def view(self, record: VolumeRecord) -> Json:
        """As `inspect` shows it."""
        found: Json = {
            "CreatedAt": times.rfc3339(record.created // 1_000_000_000 * 1_000_000_000),
            "Driver": record.driver, "Labels": record.labels, "Mountpoint": self.path(record.name),
            "Name": record.name, "Options": _in_order(record.options), "Scope": "local"}
        quota = driver.quota(record.options)
        if quota:
            found["Status"] = {"Quota": quota, "OnDisk": self.size(record)}
        return found

    def size(self, record: VolumeRecord) -> int:
        """Bytes of its files; of a volume with a bound, what it takes on the disk. Blocking."""
        if driver.quota(record.options):
            try:
                return os.stat(self.use.image(record.name)).st_blocks * 512
            except OSError:
                return 0
        return size_of(self.path(record.name))

    # Made and removed

    async def ensure(self, record: VolumeRecord) -> VolumeRecord:
        """The volume of that name, made if there is none."""
        async with self._lock:
            there = self._all.get(record.name)
            if there is not None:
                return there
            try:
                if driver.quota(record.options):
                    await asyncio.to_thread(self.content.make, record)
                else:
                    await asyncio.to_thread(os.makedirs, self.path(record.name), 0o755, exist_ok=True)
            except OSError as error:
                raise EngineFailure(f"create {record.name}: {error.strerror}") from error
            await self.add(record)
        return record

    async def add(self, record: VolumeRecord) -> None:
        """Put on record what lies there already."""
        await self._parts.records.save_volume(record)
        self._all[record.name] = record
        self._parts.events.publish("volume", "create", record.name, {"driver": "local"})

    async def delete(self, record: VolumeRecord) -> bool:
        """Unless a container has it meanwhile. On record first: a server that dies in the midst goes on with it at the
        next start."""
        async with self._lock:
            if self._all.get(record.name) is not record or self.users(record.name):
                return False
            await self._parts.records.save_volume(msgspec.structs.replace(record, removing=True))
            await asyncio.to_thread(self._throw, record)
            del self._all[record.name]
            await self._parts.records.forget_volume(record.name)
        self._parts.events.publish("volume", "destroy", record.name, {"driver": "local"})
        return True

    def _throw(self, record: VolumeRecord) -> None:
        """What is mounted there is somebody else's: off with it before anything is deleted."""
        path = self.path(record.name)
        if driver.is_mounted_for_use(record.options):
            driver.unmount(path)
        elif driver.is_mount(path):
            raise Conflict(f"remove {record.name}: something is mounted on {path}")
        self._parts.places.trash.throw(self.use.home(record.name))


def _in_order(options: dict[str, str] | None) -> dict[str, str] | None:
    """As Docker's are written."""
    return dict(sorted(options.items())) if options else options


def size_of(path: str) -> int:
    """Bytes of all files below, each inode once; what vanishes meanwhile doesn't count."""
    seen: set[tuple[int, int]] = set()
    total = 0
    try:
        root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        for node in tree.walk(root, strict=False):
            inode = (node.stat.st_dev, node.stat.st_ino)
            if not node.is_directory and inode not in seen:
                seen.add(inode)
                total += node.stat.st_size
    finally:
        os.close(root)
    return total
