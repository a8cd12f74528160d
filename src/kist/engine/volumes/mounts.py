"""Volumes for containers: one for each mount, filled from the image when it is new; held while a container runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, AsyncExitStack

from kist.engine import times
from kist.engine.parts import Parts
from kist.engine.prepare import image_mounts
from kist.engine.records import ContainerRecord, Mount, VolumeRecord
from kist.engine.volumes import driver
from kist.engine.volumes.copyup import copy_up
from kist.engine.volumes.table import VolumeTable
from kist.errors import EngineFailure, InvalidParameter, NotFound
from kist.linux.openat2 import Root
from kist.oci.digest import Digest

ANONYMOUS = "com.docker.volume.anonymous"  # the label by which clients tell them


class VolumeMounts:
    def __init__(self, parts: Parts, table: VolumeTable) -> None:
        self._parts = parts
        self._table = table

    def path(self, name: str) -> str:
        return self._table.path(name)

    # At create

    def claimed(self, record: ContainerRecord, mounts: Iterable[Mount]) -> AbstractContextManager[None]:
        """Around `attach`, until the container is on record with these mounts."""
        return self._table.use.claimed((mount.name for mount in mounts if mount.type == "volume"), record.id)

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
        labels = {ANONYMOUS: ""} if mount.anonymous else {}
        labels |= mount.volume_labels or {}
        wanted = VolumeRecord(name=mount.name, created=times.now(), labels=labels or None,
                              options=mount.volume_options, anonymous=mount.anonymous)
        if self._table.find(mount.name) is None:  # of one that is there nothing is changed, and no option looked at
            driver.check(mount.name, mount.volume_options or {})
        volume = await self._table.ensure(wanted)
        if volume is wanted:
            undo.push_async_callback(self._table.delete, volume)
        mount.source = self.path(mount.name)
        if mount.nocopy or mount.subpath:
            return
        if driver.is_mounted_for_use(volume.options) and not await asyncio.to_thread(
                self._has, record.chain_id, mount.target):
            return  # nothing to copy: what can't be mounted is told at start
        async with self._table.use.claim(mount.name).filling, self._table.use.using(volume):
            await asyncio.to_thread(self._fill, mount, record.chain_id)

    def _has(self, chain_id: str, path: str) -> bool:
        with self._parts.store.snapshots.view_image(Digest(chain_id) if chain_id else None) as fd, \
                Root(os.dup(fd)) as root:
            return root.exists(path)

    def _fill(self, mount: Mount, chain_id: str) -> None:
        if os.listdir(mount.source):
            return
        marker = self._table.use.filling(mount.name)
        try:
            with self._parts.store.snapshots.view_image(Digest(chain_id) if chain_id else None) as fd, \
                    Root(os.dup(fd)) as root:
                with open(marker, "wb"):
                    pass
                copy_up(root, mount.target, mount.source)
                os.unlink(marker)
        except OSError as error:
            self._table.use.undo_filling(self._table.get(mount.name))
            raise EngineFailure(f"failed to copy the image's {mount.target} into volume {mount.name}: "
                                f"{error.strerror or error}") from error

    def _attach_image(self, key: str, mount: Mount) -> None:
        try:
            image = self._parts.store.images.resolve(mount.source)
        except NotFound as error:  # 404 would tell clients to pull the container's image
            raise InvalidParameter(error.message) from None
        self._parts.store.snapshots.prepare(key, image.chain_id)
        mount.image_id = image.id

    # At start, and at the end

    async def hold(self, record: ContainerRecord, undo: AsyncExitStack) -> None:
        """At start: what has to be mounted for the container's volumes is, once this returns."""
        for mount in record.mounts:
            volume = self._table.find(mount.name) if mount.type == "volume" else None
            if volume is None:
                continue
            self._table.use.check_open(volume.name)
            if driver.is_mounted_for_use(volume.options):
                await self._table.use.hold(volume, record.id)
                undo.push_async_callback(self._table.use.release, volume, record.id)
            if mount.subpath:
                await asyncio.to_thread(_check_subpath, mount)

    async def release(self, record: ContainerRecord) -> None:
        """At the container's end."""
        for mount in record.mounts:
            volume = self._table.find(mount.name) if mount.type == "volume" else None
            if volume is not None and driver.is_mounted_for_use(volume.options):
                await self._table.use.release(volume, record.id)

    async def remove_anonymous(self, record: ContainerRecord) -> None:
        """`rm -v`: those that no other container uses."""
        for mount in record.all_mounts:
            found = self._table.find(mount.name) if mount.type == "volume" and mount.anonymous else None
            if found is not None and not self._table.users(mount.name):
                await self._table.delete(found)


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
