"""Start: addresses, /etc files, one message to the launcher, running. What fails takes everything back.

While the launcher's processes make the container, its network is wired and its record goes to the disk: the program
runs when all three are done. What is running is known from the monitor, so the record of that is not waited for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from kist.engine import links, logdrivers, processes, realtime, states
from kist.engine.container import Container, close_attaches
from kist.engine.events import Events
from kist.engine.links import Linked
from kist.engine.network.model import Endpoint
from kist.engine.parts import Parts
from kist.engine.prepare import Prepare
from kist.engine.records import ContainerRecord
from kist.engine.spec import is_late
from kist.engine.spec.namespaces import FIELDS, joined
from kist.errors import Conflict, EngineFailure, InvalidParameter, KistError
from kist.launcher.client import NOT_EXECUTABLE, NOT_FOUND, STATUS_OF_KIND, LaunchError, StartRequest

if TYPE_CHECKING:
    from kist.engine.volumes.mounts import VolumeMounts
    from kist.launcher.client import AttachRequest, MonitorLink

Json = dict[str, Any]
# Exit status of a container whose start failed before the launcher was asked (Docker: 128).
NOT_STARTED = 128
# Steps that fail by what the user asked for, whatever the machine: a mistake of the client's, not of the server's.
_USERS_STEPS = ("set sysctl ", "make the working directory ", "change to ")
_NO_FOLDER = "make the working directory "
_TASK = "failed to create task for container: "
_FRAME = _TASK + "failed to create shim task: OCI runtime create failed: kist: container init: {}: unknown"
_NO_RECEIVER = "dial "  # of a log driver (launcher/remote.py)
# A folder onto a file is ENOTDIR, a file onto a folder EISDIR or EINVAL (move_mount(2)): a step's first word, its end.
_KINDS_DIFFER = {("bind", "ENOTDIR"), ("bind", "EISDIR"), ("bind", "EINVAL"), ("mount", "ENOTDIR")}
_HINT = ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists " \
        "and is the expected type"


class Start:
    def __init__(self, parts: Parts, volumes: VolumeMounts) -> None:
        self._parts = parts
        self._volumes = volumes
        self._prepare = Prepare(parts)

    def compile(self, container: Container) -> None:
        """At create: do what start would have to do. What can't be done yet is left to start, which will say why.
        Blocking."""
        record = container.record
        if not self._parts.apparmor.settled or is_late(record.host):
            return
        if any(mount.idmap for mount in record.mounts):  # whose files they are is seen at start
            return
        try:
            self._prepare.spec(container)
        except KistError:
            return
        record.apparmor = self._parts.apparmor.profile(record.host)
        container.spec_ready = True

    async def run(self, container: Container) -> None:
        """From created or exited to running; the caller holds the lock and has checked the state."""
        await self._take_over(container)
        await self._parts.apparmor.ready()
        container.record.apparmor = self._parts.apparmor.profile(container.record.host)
        attaches = container.take_parked()
        try:
            async with AsyncExitStack() as undo:
                if container.record.mounts:
                    await self._volumes.hold(container.record, undo)
                endpoint = await self._connect(container, undo)
                saved = self._parts.records.save(container.record)
                with self._joined(container) as namespaces:
                    await self._files(container, namespaces, links.linked(container.record, self._parts.register))
                    if container.record.host["IpcMode"] == "shareable":
                        await self._shared_memory(container, undo)
                    request = self._request(container, endpoint.netns_fd, attaches)
                    attaches = []  # the launcher's from here on
                    link = await self._launch(request, container.record, endpoint, saved)
                undo.pop_all()
        except LaunchError as error:
            users = error.kind in (NOT_FOUND, NOT_EXECUTABLE) or str(error).startswith(_USERS_STEPS)
            raise self._failed(container, failure_words(str(error)), STATUS_OF_KIND[error.kind],
                               InvalidParameter if users else EngineFailure) from None
        except KistError as error:
            raise self._failed(container, error.message, NOT_STARTED, type(error)) from None
        except OSError as error:
            raise self._failed(container, str(error), NOT_STARTED, EngineFailure) from error
        finally:
            close_attaches(attaches)
        self._started(container, link)
        self._prepare.renew_links(container)

    async def _take_over(self, container: Container) -> None:
        """What an update left to this start; on record first, so that what runs is what is on record."""
        record = container.record
        if record.pending is not None:
            after = record.upcoming()
            record.config, record.host, record.mounts, record.pending = after.config, after.host, after.mounts, None
            container.spec_ready = False
            await self._parts.records.save(record)

    async def _connect(self, container: Container, undo: AsyncExitStack) -> Endpoint:
        """The network, but for the wires: the container's namespace, addresses and ports."""
        record, host, config = container.record, container.record.host, container.record.config
        endpoint = await self._parts.networks.connect(
            record.id, "none" if config.get("NetworkDisabled") else host["NetworkMode"], config["Hostname"],
            name=record.name, endpoints=record.networks, ports=host["PortBindings"],
            exposed=config.get("ExposedPorts"), publish_all=host["PublishAllPorts"],
            mac=config.get("MacAddress") or "", upstreams=host["Dns"] or self._parts.config.dns,
            links=links.exposed(record, self._parts.register), later=True)
        undo.push_async_callback(self._parts.networks.release, record.id)
        container.endpoint = endpoint
        record.endpoint = endpoint.record()
        return endpoint

    async def _launch(self, request: StartRequest, record: ContainerRecord, endpoint: Endpoint,
                      saved: asyncio.Future[None]) -> MonitorLink:
        if not _looks_at_network(record):
            return await self._parts.launcher.start(request, meanwhile=self._wire(endpoint, saved))
        try:
            await self._wire(endpoint, saved)
        except BaseException:
            close_attaches(request.attaches)
            raise
        return await self._parts.launcher.start(request)

    async def _wire(self, endpoint: Endpoint, saved: asyncio.Future[None]) -> None:
        """What has to be done before the program runs."""
        await self._parts.networks.wire(endpoint)
        await saved  # what runs has its addresses and ports on record: the next server may need to know

    async def _files(self, container: Container, namespaces: dict[str, str], linked: Sequence[Linked]) -> None:
        """config.json unless create has made it and it still holds, and the /etc files."""
        record = container.record
        endpoint = container.endpoint
        gateways = self._parts.networks.host_addresses(endpoint) if endpoint is not None else ()
        if not container.spec_ready or namespaces or record.was_started:
            await asyncio.to_thread(self._prepare.spec, container, namespaces, linked)
        self._prepare.etc(container, gateways=gateways, linked=linked)
        if record.host["CpuRealtimeRuntime"] and self._parts.config.cpu_rt_runtime:
            config = self._parts.config
            await asyncio.to_thread(realtime.grant, record.host["CgroupParent"] or config.cgroup_parent,
                                    config.cpu_rt_period, config.cpu_rt_runtime)

    async def _shared_memory(self, container: Container, undo: AsyncExitStack) -> None:
        places = self._parts.places
        await asyncio.to_thread(places.unmount_shm, container.id)
        await asyncio.to_thread(places.mount_shm, container.id, container.record.host["ShmSize"])
        undo.callback(places.unmount_shm, container.id)

    @contextmanager
    def _joined(self, container: Container) -> Iterator[dict[str, str]]:
        """Namespaces of other containers that this one joins: by our descriptors, for a process's number may soon be
        another's."""
        with ExitStack() as held:
            found = {}
            for kind, other in self._others(container):
                with processes.directory(other) as process:
                    namespace = os.open(f"ns/{kind}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
                held.callback(os.close, namespace)
                found[kind] = f"/proc/{os.getpid()}/fd/{namespace}"
            yield found

    def _others(self, container: Container) -> Iterator[tuple[str, Container]]:
        """Kind of namespace, and whose it is to be."""
        for field, kind in FIELDS.items():
            other_id = joined(container.record.host[field] or "")
            if other_id is None or kind == "network":  # the network's namespace is given as a descriptor
                continue
            other = self._parts.register.get(other_id)
            if not other.alive:
                raise Conflict(f"failed to join {kind.upper()} namespace: container {other.id} is not running")
            if kind == "ipc" and other.record.host["IpcMode"] != "shareable":
                raise Conflict(f"failed to join IPC namespace: container {other.id}: non-shareable IPC (hint: use "
                               "IpcMode:shareable for the donor container)")
            yield kind, other

    def _request(self, container: Container, netns_fd: int | None, attaches: list[AttachRequest]) -> StartRequest:
        record, places = container.record, self._parts.places
        return StartRequest(
            id=record.id,
            bundle_dir=places.run_dir(record.id),
            run_dir=places.run_dir(record.id),
            data_dir=places.data_dir(record.id),
            log=logdrivers.request(record, self._parts.config, places.log_path(record), os.uname().nodename,
                                   os.getpid()),
            tty=container.tty,
            open_stdin=bool(record.config["OpenStdin"]),
            stdin_once=bool(record.config["StdinOnce"]),
            netns_fd=netns_fd,
            attaches=attaches,
        )

    def _started(self, container: Container, link: MonitorLink) -> None:
        record = container.record
        container.link = link
        container.begin_run()
        if container.endpoint is not None:
            record.endpoint = container.endpoint.record()  # an ipvlan's MAC address is known when it is wired
            publish_networks(self._parts.events, "connect", container.id, container.endpoint)
        for mount in record.mounts:
            if mount.type == "volume":
                self._parts.events.publish("volume", "mount", mount.name, {
                    "container": container.id, "destination": mount.target, "driver": mount.driver,
                    "propagation": mount.propagation, "read/write": "true" if mount.rw else "false"})
        record.state, record.pid = states.RUNNING, link.pid
        record.exit_code, record.error, record.oom_killed = 0, "", False
        record.started_at = int(link.started_at * 1e9)  # the monitor's word: an adopting server will hear the same
        record.stopped_by_user, record.was_started, record.restart_wanted = False, True, False
        self._parts.records.save(record)

    def _failed(self, container: Container, words: str, status: int, kind: type[KistError]) -> KistError:
        """Docker: the state stays as it was, error and exit status are recorded."""
        record = container.record
        container.endpoint = record.endpoint = None
        record.error, record.exit_code, record.pid = words, status, 0
        if record.state == states.RESTARTING:
            record.state = states.EXITED
        self._parts.records.save(record)
        return kind(words)


def _looks_at_network(record: ContainerRecord) -> bool:
    """Whether the making of the container sets something on its interfaces, which therefore come first."""
    return bool(record.host.get("NetworkRate")) or any(name.startswith("net.") for name in record.host["Sysctls"] or ())


def publish_networks(events: Events, action: str, container_id: str, endpoint: Endpoint) -> None:
    """Docker tells of each network that a container comes on or leaves."""
    for one in endpoint.attachments:
        events.publish("network", action, one.network,
                       {"container": container_id, "name": one.network_name, "type": one.network_name
                        if one.network_name in ("host", "none") else "bridge"})


def failure_words(said: str) -> str:
    """The runtime's words in the frame by which docker knows them (and derives 126 and 127)."""
    if said.startswith(_NO_FOLDER) and said.endswith(": ENOTDIR"):  # Docker looks before it starts the runtime
        return f"Cannot mkdir: {said.removeprefix(_NO_FOLDER).removesuffix(': ENOTDIR')} is not a directory"
    if said.startswith(_NO_RECEIVER):
        return f"{_TASK}failed to initialize logging driver: {said}"
    step, _, why = said.rpartition(": ")
    differ = (step.partition(" ")[0], why) in _KINDS_DIFFER
    return _FRAME.format(said) + (_HINT if differ else "")
