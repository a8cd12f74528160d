"""Named volumes: directories that outlive containers.

::

    <data>/volumes/<name>/_data     what is mounted; `engine.db` has the record
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

from kist.api import bodies
from kist.api.options import Filters
from kist.engine import names, selection, times
from kist.engine.copyup import copy_up
from kist.engine.mountpoints import check_volume_name
from kist.engine.parts import Parts
from kist.engine.records import ContainerRecord, Mount, VolumeRecord
from kist.errors import Conflict, EngineFailure, InvalidParameter, NotFound, NotSupported
from kist.linux.openat2 import Root
from kist.oci.digest import Digest

Json = dict[str, Any]
Rows = list[Json]
Texts = list[str]
FILTERS = frozenset({"dangling", "driver", "label", "label!", "name"})
ANONYMOUS = "com.docker.volume.anonymous"  # the label by which clients tell them


class Volumes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._all: dict[str, VolumeRecord] = {record.name: record for record in parts.records.volumes()}
        self._lock = asyncio.Lock()

    # The API

    async def list(self, filters: Filters | None = None) -> Json:
        selection.check(filters or {}, FILTERS)
        found = [record for record in self._all.values() if self._matches(record, filters or {})]
        return {"Volumes": [self._view(record) for record in sorted(found, key=lambda record: record.name)],
                "Warnings": []}

    async def inspect(self, name: str) -> Json:
        return self._view(self._get(name))

    async def create(self, body: bodies.VolumeCreate) -> Json:
        if body.Driver not in ("", "local"):
            raise NotFound(f'error looking up volume plugin {body.Driver}: plugin "{body.Driver}" not found')
        if body.DriverOpts:
            raise NotSupported("options of the local volume driver (--opt) are not supported by Kist")
        if body.ClusterVolumeSpec:
            raise InvalidParameter("cluster volumes need a swarm")
        name = check_volume_name(body.Name) if body.Name else names.new_id()
        labels = dict(body.Labels or {})
        if not body.Name:
            labels[ANONYMOUS] = ""
        record = await self._ensure(VolumeRecord(name=name, created=times.now(), labels=labels,
                                                 options=body.DriverOpts, anonymous=not body.Name))
        return self._view(record)

    async def remove(self, name: str, *, force: bool = False) -> None:
        if name not in self._all and force:
            return
        record = self._get(name)
        users = self.users(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        await self._delete(record)

    async def prune(self, filters: Filters) -> Json:
        selection.check(filters, frozenset({"all", "label", "label!"}))
        everything = any(value.lower() in ("1", "true") for value in filters.get("all", ()))
        rest = {name: values for name, values in filters.items() if name != "all"}
        gone: Texts = []
        freed = 0
        for record in list(self._all.values()):
            if self.users(record.name) or not (everything or record.anonymous) or not self._matches(record, rest):
                continue
            freed += await asyncio.to_thread(size_of, self.path(record.name))
            await self._delete(record)
            gone.append(record.name)
        self._parts.events.publish("volume", "prune", "", {"reclaimed": str(freed)})
        return {"VolumesDeleted": gone, "SpaceReclaimed": freed}

    # For containers

    async def attach(self, record: ContainerRecord, mounts: Iterable[Mount], undo: AsyncExitStack) -> None:
        """Resolve mounts that a container gets; new volumes are filled from its image."""
        for mount in mounts:
            if mount.type == "volume":
                await self._attach_volume(record, mount, undo)
            elif mount.type == "bind":
                await asyncio.to_thread(_check_bind, mount)

    async def _attach_volume(self, record: ContainerRecord, mount: Mount, undo: AsyncExitStack) -> None:
        if mount.name not in self._all:
            labels = {ANONYMOUS: ""} if mount.anonymous else None
            made = await self._ensure(VolumeRecord(name=mount.name, created=times.now(), labels=labels,
                                                   anonymous=mount.anonymous))
            undo.push_async_callback(self._delete, made)
        mount.source = self.path(mount.name)
        if "nocopy" not in mount.mode.split(","):
            await asyncio.to_thread(self._fill, mount, record.chain_id)

    def _fill(self, mount: Mount, chain_id: str) -> None:
        if os.listdir(mount.source):
            return
        try:
            with self._parts.store.snapshots.view_image(Digest(chain_id) if chain_id else None) as fd, \
                    Root(os.dup(fd)) as root:
                copy_up(root, mount.target, mount.source)
        except OSError as error:
            raise EngineFailure(f"failed to copy the image's {mount.target} into volume {mount.name}: "
                                f"{error.strerror or error}") from error

    async def remove_anonymous(self, record: ContainerRecord) -> None:
        """`rm -v`: those that no other container uses."""
        for mount in record.all_mounts:
            found = self._all.get(mount.name) if mount.type == "volume" and mount.anonymous else None
            if found is not None and not self.users(mount.name):
                await self._delete(found)

    def users(self, name: str) -> Texts:
        """Ids of the containers that have the volume."""
        return [container.id for container in self._parts.register.all()
                if any(mount.type == "volume" and mount.name == name for mount in container.record.all_mounts)]

    def path(self, name: str) -> str:
        return os.path.join(self._parts.config.volumes_dir, name, "_data")

    async def usage(self) -> Rows:
        """All of them with their sizes, for `system df`."""
        found = []
        for record in list(self._all.values()):
            size = await asyncio.to_thread(size_of, self.path(record.name))
            found.append({**self._view(record),
                          "UsageData": {"Size": size, "RefCount": len(self.users(record.name))}})
        return found

    # Below

    async def _ensure(self, record: VolumeRecord) -> VolumeRecord:
        async with self._lock:
            there = self._all.get(record.name)
            if there is not None:
                return there
            try:
                await asyncio.to_thread(os.makedirs, self.path(record.name), 0o755, exist_ok=True)
            except OSError as error:
                raise EngineFailure(f"create {record.name}: {error.strerror}") from error
            await self._parts.records.save_volume(record)
            self._all[record.name] = record
        self._parts.events.publish("volume", "create", record.name, {"driver": "local"})
        return record

    async def _delete(self, record: VolumeRecord) -> None:
        async with self._lock:
            if self._all.pop(record.name, None) is None:
                return
            await self._parts.records.forget_volume(record.name)
            await asyncio.to_thread(self._parts.places.trash.throw,
                                    os.path.join(self._parts.config.volumes_dir, record.name))
        self._parts.events.publish("volume", "destroy", record.name, {"driver": "local"})

    def _get(self, name: str) -> VolumeRecord:
        found = self._all.get(name)
        if found is None:
            raise NotFound(f"get {name}: no such volume")
        return found

    def _matches(self, record: VolumeRecord, filters: Filters) -> bool:
        labels = record.labels or {}
        tests = {
            "name": lambda values: any(value in record.name for value in values),
            "driver": lambda values: record.driver in values,
            "label": lambda values: all(selection.has_label(labels, value) for value in values),
            "label!": lambda values: not all(selection.has_label(labels, value) for value in values),
            "dangling": lambda values: (not self.users(record.name)) == _truth(values),
        }
        return all(tests[name](values) for name, values in filters.items() if values)

    def _view(self, record: VolumeRecord) -> Json:
        return {"CreatedAt": times.rfc3339(record.created // 1_000_000_000 * 1_000_000_000),
                "Driver": record.driver, "Labels": record.labels, "Mountpoint": self.path(record.name),
                "Name": record.name, "Options": record.options, "Scope": "local"}


def _truth(values: list[str]) -> bool:
    if not all(value.lower() in ("true", "false", "1", "0") for value in values):
        raise InvalidParameter(f"invalid filter 'dangling={values}'")
    return values[0].lower() in ("true", "1")


def _check_bind(mount: Mount) -> None:
    if os.path.lexists(mount.source):
        return
    if not mount.create_source:
        raise InvalidParameter('invalid mount config for type "bind": bind source path does not exist: '
                               + mount.source)
    try:
        os.makedirs(mount.source, 0o755, exist_ok=True)
    except OSError as error:
        raise EngineFailure(f"error while creating mount source path '{mount.source}': mkdir {mount.source}: "
                            f"{(error.strerror or '').lower()}") from error


def size_of(path: str) -> int:
    """Bytes of all files below, each inode once; what vanishes meanwhile doesn't count."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                info = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            if (info.st_dev, info.st_ino) not in seen:
                seen.add((info.st_dev, info.st_ino))
                total += info.st_size
    return total
