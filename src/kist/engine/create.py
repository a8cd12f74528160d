"""Create: name, image, checked configuration, snapshot, files, record. Nothing runs yet.

The record is written last: whatever a crash leaves without one is cleared at the next start.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec

from kist.api import bodies
from kist.engine import checks, hostconfig, links, merge, mountpoints, names, signals, storageopt, times
from kist.engine.container import Container
from kist.engine.network.addressing import check_endpoint, check_shared_endpoint
from kist.engine.parts import Parts
from kist.engine.records import ContainerRecord, Mount
from kist.engine.spec.namespaces import FIELDS, joined
from kist.engine.start import Start
from kist.errors import Conflict, InvalidParameter, NotFound
from kist.oci.digest import Digest
from kist.oci.platform import Platform, from_uname
from kist.store.errors import NoSuchContent, storage_errors

if TYPE_CHECKING:
    from kist.engine.images import Image, Images
    from kist.engine.volumes.mounts import VolumeMounts

Json = dict[str, Any]


class Create:
    def __init__(self, parts: Parts, images: Images, volumes: VolumeMounts, start: Start) -> None:
        self._parts = parts
        self._images = images
        self._volumes = volumes
        self._start = start

    async def run(self, name: str, body: bodies.ContainerCreate, platform: str, *, writable_below: bool) -> Json:
        register = self._parts.register
        container_id = names.new_id()
        name = name or names.random_name(register.taken)
        async with AsyncExitStack() as undo:
            register.reserve(name, container_id)
            undo.callback(register.release, name, container_id)
            image = await self._images.resolve(body.Image, platform)
            record, warnings = self._record(container_id, name, body, image)
            if not platform:
                warnings += _other_platform(image.config.platform, from_uname("Linux", self._parts.host.machine))
            if writable_below:
                mountpoints.leave_below_writable(record.mounts)
            container = Container(record)
            with self._volumes.claimed(record, record.mounts):
                await self._storage(container, image, undo)
                await self._parts.records.save(record)
                register.add(container)
            undo.pop_all()
        self._parts.events.publish("container", "create", container_id, container.attributes())
        return {"Id": container_id, "Warnings": warnings}

    def draft(self, container_id: str, body: bodies.ContainerCreate, image: Image) -> Container:
        """The container that `run` would make; nothing is made, its volumes have no place yet."""
        return Container(self._record(container_id, container_id, body, image)[0])

    def _record(self, container_id: str, name: str, body: bodies.ContainerCreate, image: Image,
                ) -> tuple[ContainerRecord, list[str]]:
        parts = self._parts
        warnings: list[str] = []
        checks.check_modes(msgspec.to_builtins(body))
        host = hostconfig.normalize(body.HostConfig, parts.config, parts.host.limits, warnings)
        config = merge.merge(body, image.config.run)
        networks = _networks(body)
        checks.check(config, host, networks)
        self._check_networks(host["NetworkMode"], networks)
        path, args = merge.command(config)
        self._join_containers(host)
        host["Links"] = links.resolve(host, parts.register)
        self._host_name(config, host, container_id)
        if config.get("StopSignal"):
            signals.parse_signal(config["StopSignal"])
        if host["Memory"] and host["OomKillDisable"]:
            warnings.append("OOM killer is disabled for the container: it hangs when its memory is used up.")
        elif host["OomKillDisable"]:
            warnings.append("OOM killer is disabled for the container, but no memory limit is set, this can result in "
                            "the system running out of resources.")
        if host["NetworkMode"] == "host" and (host["PortBindings"] or host["PublishAllPorts"]):
            warnings.append("Published ports are discarded when using host network mode")
        record = ContainerRecord(
            id=container_id, name=name, created=times.now(), image=body.Image, image_id=image.id,
            chain_id=image.chain_id, manifest=image.descriptor, config=config, host=host,
            networks=networks, path=path, args=args)
        record.mounts = mountpoints.mount_points(host, config["Volumes"] or (), self._volumes_from(host),
                                                 names.new_id, data=parts.config.data)
        _check_driver(host, config)
        return record, warnings

    def _check_networks(self, mode: str, networks: Json) -> None:
        """A network that isn't there is told when the container starts."""
        for name, asked in networks.items():
            try:
                if joined(name) is not None:
                    check_shared_endpoint(asked)
                    continue
                network = self._parts.networks.named(mode if name == "default" else name)
                check_endpoint(network, asked)
            except NotFound:
                continue
            except InvalidParameter as error:
                raise InvalidParameter(f"invalid config for network {name}: {error.message}") from None

    def _join_containers(self, host: Json) -> None:
        """`container:NAME` becomes `container:ID`, so that a rename does no harm."""
        for field in FIELDS:
            ref = joined(host[field] or "")
            if ref is not None:
                if not ref and field == "IpcMode":
                    raise InvalidParameter('failed to join IPC namespace: invalid name or ID supplied: ""')
                try:
                    host[field] = f"container:{self._parts.register.get(ref).id}"
                except NotFound as error:  # 404 would tell clients to pull the image
                    raise InvalidParameter(error.message) from None

    def _host_name(self, config: Json, host: Json, container_id: str) -> None:
        mode = host["NetworkMode"]
        if joined(mode) is not None:
            if config["Hostname"]:
                raise InvalidParameter("conflicting options: hostname and the network mode")
            config["Hostname"] = self._parts.register.get(joined(mode) or "").record.config["Hostname"]
        elif not config["Hostname"]:
            on_host = mode == "host" or host["UTSMode"] == "host"
            config["Hostname"] = self._parts.host.name if on_host else container_id[:12]

    def _volumes_from(self, host: Json) -> list[Mount]:
        found = []
        for text in host["VolumesFrom"] or ():
            ref, writable = mountpoints.parse_volumes_from(text)
            try:
                donor = self._parts.register.get(ref).record
            except NotFound as error:  # 404 would tell clients to pull the image
                raise InvalidParameter(error.message) from None
            for mount in donor.mounts:
                copy = msgspec.structs.replace(mount, mode="", nocopy=True)  # moby: CopyData: false
                copy.rw = mount.rw if writable is None else writable and mount.rw
                found.append(copy)
        return found

    async def _storage(self, container: Container, image: Image, undo: AsyncExitStack) -> None:
        """Snapshot, directories, volumes, and config.json: one trip to a thread unless there are volumes."""
        store, places, key = self._parts.store, self._parts.places, container.id

        def make() -> None:
            with storage_errors("create container"):
                try:
                    store.snapshots.prepare(key, image.chain, volatile=container.record.host["AutoRemove"],
                                            quota=storageopt.size(container.record.host))
                except NoSuchContent:
                    store.images.get(Digest(image.id))  # raises "No such image" if it was removed just now
                    raise
                places.make(key)
                if not container.record.mounts:
                    self._start.compile(container)

        def unmake() -> None:
            store.snapshots.remove(key)
            places.discard(key)

        undo.push_async_callback(asyncio.to_thread, unmake)
        await asyncio.to_thread(make)
        if container.record.mounts:
            await self._volumes.attach(container.record, container.record.mounts, undo)
            await asyncio.to_thread(self._start.compile, container)


def _other_platform(image: Platform, here: Platform) -> list[str]:
    found = image.normalised()
    if not found.architecture or (found.os, found.architecture) == (here.os, here.architecture):
        return []
    return [f"The requested image's platform ({found}) does not match the detected host platform ({here}) and no "
            "specific platform was requested"]


def _check_driver(host: Json, config: Json) -> None:
    """`--volume-driver` is the driver of volumes by -v and by the image; who has none may name any."""
    driver = host["VolumeDriver"]
    volumes = [text for text in host["Binds"] or () if not text.startswith("/")]
    if driver not in ("", "local") and (volumes or config["Volumes"]):
        raise NotFound(f'error looking up volume plugin {driver}: plugin "{driver}" not found')


def _networks(body: bodies.ContainerCreate) -> Json:
    asked = body.NetworkingConfig.EndpointsConfig if body.NetworkingConfig else None
    if asked and len(asked) > 1 and (body.HostConfig is None or body.HostConfig.NetworkMode in ("host", "none")):
        raise Conflict("Container cannot be connected to network endpoints: " + ", ".join(asked))
    return {"bridge" if name == "default" else name: msgspec.to_builtins(settings) if settings else {}
            for name, settings in (asked or {}).items()}
