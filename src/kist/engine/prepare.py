"""A container's files before it can start: config.json and its /etc files. Blocking: called in threads."""

from __future__ import annotations

import os
import posixpath
import zlib
from collections.abc import Sequence
from typing import Any

from kist.engine import host, idmaps, init, links
from kist.engine.container import Container
from kist.engine.links import Linked
from kist.engine.network import files as network_files
from kist.engine.network.model import Endpoint
from kist.engine.parts import Parts
from kist.engine.places import Places
from kist.engine.records import ContainerRecord, Mount
from kist.engine.rootview import Accounts
from kist.engine.spec import Facts, compile_spec
from kist.engine.spec.mounts import ETC_FILES
from kist.engine.spec.namespaces import joined
from kist.errors import EngineFailure, InvalidParameter
from kist.linux import openat2
from kist.store.snapshots import Quota

Json = dict[str, Any]
Root = tuple[list[Json], Quota | None]


class Prepare:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._accounts = Accounts(parts.store)

    def spec(self, container: Container, namespace_paths: dict[str, str] | None = None,
             linked: Sequence[Linked] = ()) -> None:
        """Compile the OCI configuration and write it where the monitor reads it."""
        places, key = self._parts.places, container.id
        compiled = self.compile(container, self.root(container), namespace_paths, linked)
        places.make_run(key)
        places.write_spec(key, compiled)

    def root(self, container: Container) -> Root:
        """What its root file system is made of."""
        snapshots = self._parts.store.snapshots
        return [dict(mount) for mount in snapshots.mounts(container.id)], snapshots.quota(container.id)

    def compile(self, container: Container, root: Root, namespace_paths: dict[str, str] | None = None,
                linked: Sequence[Linked] = ()) -> Json:
        """The OCI configuration."""
        parts, record = self._parts, container.record
        settings, user = record.host, self._accounts.user(container)
        facts = Facts(
            root=parts.places.root,
            rootfs=root[0],
            quota=root[1],
            etc=etc_paths(parts, container),
            cgroup=cgroup_path(settings["CgroupParent"] or parts.config.cgroup_parent, record.id),
            user=user,
            images=self._images(record),
            owners=_owners(record, (user.uid, user.gid)),
            devices=host.devices(settings),
            numbers=host.block_numbers(settings),
            namespace_paths=namespace_paths or {},
            shm=shm_path(parts.places, container),
            init=self._init(settings),
            machine=parts.host.machine,
            kernel=parts.host.release,
            known_capabilities=parts.host.known_capabilities,
            apparmor=parts.apparmor.profile(settings),
            variables=[variable for one in linked for variable in one.variables],
        )
        return compile_spec(record, facts)

    def _images(self, record: ContainerRecord) -> dict[str, list[Json]]:
        """Images that are mounted: each has a snapshot of its own, which keeps its layers, and a place of its own."""
        found: dict[str, list[Json]] = {}
        for key, mount in image_mounts(record):
            if mount not in record.mounts:  # not before the next start
                continue
            made: list[Json] = [dict(one) for one in self._parts.store.snapshots.mounts(key)]
            made[-1] |= {"destination": self._parts.places.image_root(len(found)),
                         "options": ["ro", *made[-1]["options"]]}
            found[mount.target] = made
        return found

    def _init(self, settings: Json) -> str | None:
        if not settings["Init"]:
            return None
        machine = self._parts.host.machine
        found = init.path(self._parts.config.run, machine) or host.find_init()
        if found is None:
            raise InvalidParameter(f"--init needs a static init program on machines of type {machine}: install the "
                                   "package tini (or catatonit, or docker-init)")
        return found

    def etc(self, container: Container, *, gateways: Sequence[str], linked: Sequence[Linked] = ()) -> None:
        """hostname, hosts and resolv.conf, anew at each start: the address may be another one. `gateways`: where the
        host is to be found."""
        config, settings = container.record.config, container.record.host
        if etc_owner(self._parts, container) != container.id:
            return
        name = config["Hostname"]
        names = network_files.own_names(name, config.get("Domainname") or "")
        extra = settings["ExtraHosts"] or ()
        hosts = _read("/etc/hosts") if settings["NetworkMode"] == "host" and not extra else network_files.hosts(
            _addresses(container), names, extra, gateways=self._parts.config.host_gateway_ips or gateways,
            linked=[(address, one.names) for one in linked for address in one.addresses])
        self._parts.places.write_etc(container.id, {
            "hostname": f"{name}\n",
            "hosts": hosts,
            "resolv.conf": self._resolv(settings, container.endpoint),
        })

    def renew_resolver(self, container: Container, before: Endpoint | None) -> None:
        """The container's networks have changed while it runs: /etc/resolv.conf follows, unless somebody has changed
        it meanwhile."""
        settings, path = container.record.host, f"{self._parts.places.data_dir(container.id)}/resolv.conf"
        now = self._resolv(settings, container.endpoint)
        if now != _read(path) == self._resolv(settings, before):
            self._parts.places.write_etc(container.id, {"resolv.conf": now})

    def renew_links(self, child: Container) -> None:
        """A container has started, perhaps with another address: /etc/hosts of those linked to it follows."""
        for parent, called, addresses in links.moved(child, self._parts.register):
            before = _read(f"{self._parts.places.data_dir(parent.id)}/hosts")
            now = links.renewed(before, called, addresses)
            if now != before:
                self._parts.places.write_etc(parent.id, {"hosts": now})

    def _resolv(self, settings: Json, endpoint: Endpoint | None) -> str:
        config = self._parts.config
        of_host = _read("/etc/resolv.conf")
        servers = settings["Dns"] or list(config.dns)
        search = settings["DnsSearch"] or list(config.dns_search)
        options = settings["DnsOptions"] or list(config.dns_options)
        if settings["NetworkMode"] == "host" and not (servers or search or options):
            return of_host
        return network_files.resolv_conf(of_host, upstream=_read("/run/systemd/resolve/resolv.conf"),
                                         nameservers=servers, search=search or None, options=options,
                                         ipv6=endpoint is not None and endpoint.ipv6,
                                         internal=endpoint.resolver if endpoint is not None else "")


def image_mounts(record: ContainerRecord) -> list[tuple[str, Mount]]:
    """(key of its snapshot, mount)"""
    return [(f"{record.id}.{zlib.crc32(mount.target.encode()):08x}", mount)
            for mount in record.all_mounts if mount.type == "image"]


def _owners(record: ContainerRecord, user: tuple[int, int]) -> dict[str, Json]:
    """Id mappings by what is there now: the owner of the directory that is mounted."""
    found = {}
    for mount in record.mounts:
        if mount.idmap:
            try:
                with openat2.Root(os.open(mount.source, os.O_PATH | os.O_CLOEXEC)) as source:
                    info = source.stat(mount.subpath) if mount.subpath else os.fstat(source.fd)
            except OSError as error:
                raise EngineFailure(f"idmap of {mount.source}: {error.strerror}") from error
            found[mount.target] = idmaps.mappings(mount.idmap, owner=(info.st_uid, info.st_gid), user=user)
    return found


def _addresses(container: Container) -> list[str]:
    """The addresses that the container's own name means."""
    attachments = container.endpoint.attachments if container.endpoint is not None else []
    return [address for one in attachments for address in (one.ip, one.ip6) if address]


def etc_paths(parts: Parts, container: Container) -> dict[str, str]:
    """The files behind a container's hostname, hosts and resolv.conf in /etc."""
    folder = parts.places.data_dir(etc_owner(parts, container))
    return {name: f"{folder}/{name}" for name in ETC_FILES}


def etc_owner(parts: Parts, container: Container) -> str:
    """Whose these files are. A container in another one's network shares that one's (moby does so), which may be in a
    third one's; if that has been removed meanwhile, it gets its own."""
    owner: Container | None = container
    for _ in range(len(parts.register.by_id)):
        other = joined(owner.record.host["NetworkMode"]) if owner else None
        if other is None:
            break
        owner = parts.register.by_id.get(other)
    return owner.id if owner and joined(owner.record.host["NetworkMode"]) is None else container.id


def shm_path(places: Places, container: Container) -> str | None:
    """The /dev/shm that is shared: the container's own, or the one of the container whose IPC namespace it joins."""
    mode = container.record.host["IpcMode"]
    owner = container.id if mode == "shareable" else joined(mode)
    return places.shm(owner) if owner is not None else None


def cgroup_path(parent: str, container_id: str) -> str:
    return posixpath.normpath("/" + f"{parent}/{container_id}".lstrip("/"))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
