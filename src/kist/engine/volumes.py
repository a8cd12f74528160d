"""Named volumes: directories that outlive containers.

`volumeuse.py` says where they lie, `volumedriver.py` what their options mean, `volumecontent.py` brings whole
volumes in and out.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import msgspec

from kist.api import bodies
from kist.api.options import Filters
from kist.engine import names, selection, times, volumedriver
from kist.engine.container import Container
from kist.engine.copyup import copy_up
from kist.engine.mountpoints import check_volume_name
from kist.engine.parts import Parts
from kist.engine.prepare import image_mounts
from kist.engine.records import ContainerRecord, Mount, VolumeRecord
from kist.engine.volumecontent import VolumeContent
from kist.engine.volumeuse import VolumeUse
from kist.errors import Conflict, EngineFailure, InvalidParameter, KistError, NotFound
from kist.linux.openat2 import Root
from kist.oci.digest import Digest
from kist.store.trash import remove_tree

log = logging.getLogger(__name__)
Json = dict[str, Any]
Rows = list[Json]
Texts = list[str]
VolumeRecords = list[VolumeRecord]
ContainersFound = list[Container]
FILTERS = frozenset({"dangling", "driver", "label", "label!", "name"})
ANONYMOUS = "com.docker.volume.anonymous"  # the label by which clients tell them
SNAPSHOT_OF = "kist.volume.snapshot-of"


class Volumes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._use = VolumeUse(parts.config.data, parts.config.volumes_dir)
        self._content = VolumeContent(parts, self._use)
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
        if body.ClusterVolumeSpec:
            raise InvalidParameter("cluster volumes need a swarm")
        name = check_volume_name(body.Name, "create") if body.Name else names.new_id()
        volumedriver.check(name, body.DriverOpts or {})
        labels = body.Labels
        if not body.Name:
            labels = {**(labels or {}), ANONYMOUS: ""}
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
        self._check_idle(record)
        await self._delete(record)

    async def prune(self, filters: Filters) -> Json:
        selection.check(filters, frozenset({"all", "label", "label!"}))
        everything = any(value.lower() in ("1", "true") for value in filters.get("all", ()))
        rest = {name: values for name, values in filters.items() if name != "all"}
        gone: Texts = []
        freed = 0
        for record in list(self._all.values()):
            wanted = (everything or record.anonymous) and self._matches(record, rest)
            if not wanted or self.users(record.name) or self._use.users(record.name):
                continue
            freed += await asyncio.to_thread(self._size, record)
            await self._delete(record)
            gone.append(record.name)
        self._parts.events.publish("volume", "prune", "", {"reclaimed": str(freed)})
        return {"VolumesDeleted": gone, "SpaceReclaimed": freed}

    # Content

    async def export(self, name: str) -> AsyncIterator[bytes]:
        record = self._get(name)
        self._use.check_open(name)
        return self._content.export(record)

    async def import_(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """A tar into the volume, which is made if there is none; all of it or nothing."""
        there = self._all.get(check_volume_name(name, "import"))
        record = there or VolumeRecord(name=name, created=times.now())
        with self._alone(record, "imported"):
            await self._content.unpack(record, chunks, new=there is None)
            if there is None:
                await self._add(record)

    async def snapshot(self, name: str, target: str, *, pause: bool = True) -> Json:
        """A new volume with the content that `name` has now."""
        record = self._get(name)
        target = check_volume_name(target, "snapshot") if target else f"{name}-{times.stamp()}"
        if target in self._all:
            raise Conflict(f"volume {target} already exists")
        quota = volumedriver.quota(record.options)
        made = VolumeRecord(name=target, created=times.now(), labels={**(record.labels or {}), SNAPSHOT_OF: name},
                            options=record.options if quota else None)
        made.labels = {key: value for key, value in (made.labels or {}).items() if key != ANONYMOUS}
        with self._use.closed(target, "made"):
            copied = await self._content.snapshot(record, made, self._running(name) if pause else [])
            await self._add(made)
        return {**self._view(made), "Cloned": copied.cloned, "Copied": copied.copied}

    async def restore(self, name: str, source: str) -> Json:
        """The volume's content becomes that of another one, a snapshot of it as a rule."""
        record, other = self._get(name), self._get(source)
        if record is other:
            raise InvalidParameter("a volume can't be restored from itself")
        if volumedriver.is_elsewhere(record.options):
            raise InvalidParameter(f"volume {name} is mounted from elsewhere: import an export of {source} into it")
        with self._alone(record, "restored"):
            copied = await self._content.restore(record, other)
        return {**self._view(record), "Cloned": copied.cloned, "Copied": copied.copied}

    @contextmanager
    def _alone(self, record: VolumeRecord, why: str) -> Iterator[None]:
        users = [container.id for container in self._running(record.name)]
        if users:
            raise Conflict(f"volume {record.name} can't be {why}: it is in use by running containers - "
                           f"[{', '.join(users)}]")
        with self._use.closed(record.name, why):
            yield

    def _running(self, name: str) -> ContainersFound:
        register = self._parts.register
        return [container for container in register.all() if container.alive
                and any(mount.type == "volume" and mount.name == name for mount in container.record.all_mounts)]

    # For containers

    async def attach(self, record: ContainerRecord, mounts: Iterable[Mount], undo: AsyncExitStack) -> None:
        """Resolve mounts that a container gets; new volumes are filled from its image."""
        for mount in mounts:
            if mount.type == "volume":
                await self._attach_volume(record, mount, undo)
            elif mount.type == "bind":
                await asyncio.to_thread(_check_bind, mount)
        for key, mount in image_mounts(record):
            if mount in mounts:
                undo.push_async_callback(asyncio.to_thread, self._parts.store.snapshots.remove, key)
                await asyncio.to_thread(self._attach_image, key, mount)

    async def _attach_volume(self, record: ContainerRecord, mount: Mount, undo: AsyncExitStack) -> None:
        if mount.name not in self._all:
            labels = {ANONYMOUS: ""} if mount.anonymous else {}
            labels |= mount.volume_labels or {}
            volumedriver.check(mount.name, mount.volume_options or {})
            made = await self._ensure(VolumeRecord(name=mount.name, created=times.now(), labels=labels or None,
                                                   options=mount.volume_options, anonymous=mount.anonymous))
            undo.push_async_callback(self._delete, made)
        volume = self._get(mount.name)
        mount.source = self.path(mount.name)
        if "nocopy" in mount.mode.split(",") or mount.subpath:
            return
        if volumedriver.is_mounted_for_use(volume.options) and not await asyncio.to_thread(
                self._has, record.chain_id, mount.target):
            return  # nothing to copy: what can't be mounted is told at start
        async with self._use.using(volume):
            await asyncio.to_thread(self._fill, mount, record.chain_id)

    def _has(self, chain_id: str, path: str) -> bool:
        with self._parts.store.snapshots.view_image(Digest(chain_id) if chain_id else None) as fd, \
                Root(os.dup(fd)) as root:
            return root.exists(path)

    def _fill(self, mount: Mount, chain_id: str) -> None:
        marker = self._use.filling(mount.name)
        if os.path.exists(marker) and not self._running(mount.name):
            _empty(mount.source)  # what is there is the part that a killed server got to
        elif os.listdir(mount.source):
            return
        try:
            with self._parts.store.snapshots.view_image(Digest(chain_id) if chain_id else None) as fd, \
                    Root(os.dup(fd)) as root:
                with open(marker, "wb"):
                    pass
                copy_up(root, mount.target, mount.source)
                os.unlink(marker)
        except OSError as error:
            raise EngineFailure(f"failed to copy the image's {mount.target} into volume {mount.name}: "
                                f"{error.strerror or error}") from error

    def _attach_image(self, key: str, mount: Mount) -> None:
        try:
            image = self._parts.store.images.resolve(mount.source)
        except NotFound as error:  # 404 would tell clients to pull the container's image
            raise InvalidParameter(error.message) from None
        self._parts.store.snapshots.prepare(key, image.chain_id)

    async def hold(self, record: ContainerRecord, undo: AsyncExitStack) -> None:
        """At start: what has to be mounted for the container's volumes is, once this returns."""
        for mount in record.mounts:
            volume = self._all.get(mount.name) if mount.type == "volume" else None
            if volume is None:
                continue
            self._use.check_open(volume.name)
            if volumedriver.is_mounted_for_use(volume.options):
                await self._use.hold(volume, record.id)
                undo.push_async_callback(self._use.release, volume, record.id)
            if mount.subpath:
                await asyncio.to_thread(_check_subpath, mount)

    async def release(self, record: ContainerRecord) -> None:
        """At the container's end."""
        for mount in record.mounts:
            volume = self._all.get(mount.name) if mount.type == "volume" else None
            if volume is not None and volumedriver.is_mounted_for_use(volume.options):
                await self._use.release(volume, record.id)

    async def recover(self) -> None:
        """At the server's start, once it is known what runs."""
        for container in self._parts.register.all():
            if container.alive:
                await self._adopt(container)
        await asyncio.to_thread(self._use.settle, list(self._all.values()))
        await self._content.recover()
        for record in [record for record in self._all.values() if record.removing]:
            await self._delete(record)
        for record in await asyncio.to_thread(self._unknown):
            log.warning("volume %s was not on record: taken up again", record.name)
            await self._add(record)
        await asyncio.to_thread(self._mend)

    async def _adopt(self, container: Container) -> None:
        async with AsyncExitStack() as undo:
            try:
                await self.hold(container.record, undo)
            except KistError as error:
                log.error("volumes of container %s: %s", container.id, error)
            undo.pop_all()

    def _unknown(self) -> VolumeRecords:
        """Directories without a record: an empty one goes, one that holds something is a volume (never data lost)."""
        found = []
        for name in set(os.listdir(self._parts.config.volumes_dir)) - set(self._all):
            home = self._use.home(name)
            try:
                with open(f"{home}/volume.json", "rb") as file:
                    record = msgspec.json.decode(file.read(), type=VolumeRecord)
            except (OSError, msgspec.MsgspecError):
                record = VolumeRecord(name=name, created=times.now())
            holds = os.path.isdir(f"{home}/_data") and os.listdir(f"{home}/_data")
            if holds or os.path.exists(f"{home}/volume.json"):
                record.name = name
                found.append(record)
            elif os.path.isdir(home):
                self._parts.places.trash.throw(home)
        return found

    def _mend(self) -> None:
        """A copy-up that was cut short is undone, for who comes next to do it anew."""
        for record in self._all.values():
            os.makedirs(self.path(record.name), 0o755, exist_ok=True)
            marker = self._use.filling(record.name)
            if os.path.exists(marker) and not volumedriver.is_mounted_for_use(record.options):
                if not self._running(record.name):
                    _empty(self.path(record.name))
                os.unlink(marker)

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
        return self._use.data(name)

    async def usage(self) -> Rows:
        """All of them with their sizes, for `system df`."""
        found = []
        for record in list(self._all.values()):
            size = await asyncio.to_thread(self._size, record)
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
                if volumedriver.quota(record.options):
                    await asyncio.to_thread(self._content.make, record)
                else:
                    await asyncio.to_thread(os.makedirs, self.path(record.name), 0o755, exist_ok=True)
            except OSError as error:
                raise EngineFailure(f"create {record.name}: {error.strerror}") from error
            await self._add(record)
        return record

    async def _add(self, record: VolumeRecord) -> None:
        await self._parts.records.save_volume(record)
        self._all[record.name] = record
        self._parts.events.publish("volume", "create", record.name, {"driver": "local"})

    async def _delete(self, record: VolumeRecord) -> None:
        """On record first: a server that dies in the midst goes on with it at the next start."""
        async with self._lock:
            if self._all.get(record.name) is not record:
                return
            await self._parts.records.save_volume(msgspec.structs.replace(record, removing=True))
            await asyncio.to_thread(self._throw, record)
            del self._all[record.name]
            await self._parts.records.forget_volume(record.name)
        self._parts.events.publish("volume", "destroy", record.name, {"driver": "local"})

    def _throw(self, record: VolumeRecord) -> None:
        """What is mounted there is somebody else's: off with it before anything is deleted."""
        path = self.path(record.name)
        if volumedriver.is_mounted_for_use(record.options):
            volumedriver.unmount(path)
        elif volumedriver.is_mount(path):
            raise Conflict(f"remove {record.name}: something is mounted on {path}")
        self._parts.places.trash.throw(self._use.home(record.name))

    def _check_idle(self, record: VolumeRecord) -> None:
        self._use.check_open(record.name)
        if self._use.users(record.name):
            raise Conflict(f"remove {record.name}: volume is in use")

    def _size(self, record: VolumeRecord) -> int:
        """Bytes of its files; of a volume with a bound, what it takes on the disk."""
        if volumedriver.quota(record.options):
            try:
                return os.stat(self._use.image(record.name)).st_blocks * 512
            except OSError:
                return 0
        return size_of(self.path(record.name))

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
        found: Json = {
            "CreatedAt": times.rfc3339(record.created // 1_000_000_000 * 1_000_000_000),
            "Driver": record.driver, "Labels": record.labels, "Mountpoint": self.path(record.name),
            "Name": record.name, "Options": record.options, "Scope": "local"}
        quota = volumedriver.quota(record.options)
        if quota:
            found["Status"] = {"Quota": quota, "OnDisk": self._size(record)}
        return found


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


def _check_subpath(mount: Mount) -> None:
    """For its words only: the runtime looks it up anew, inside of the volume."""
    try:
        with Root.at(mount.source) as root:
            os.close(root.resolve(mount.subpath))
    except OSError as error:
        path = os.path.join(mount.source, mount.subpath)
        raise InvalidParameter(f"cannot access path {path}: lstat {path}: {(error.strerror or '').lower()}") from None


def _empty(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in os.listdir(fd):
            remove_tree(name, dir_fd=fd)
    finally:
        os.close(fd)


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
