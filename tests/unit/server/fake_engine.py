"""An engine in memory for the server's tests: real processes, no isolation, everything else in dictionaries.

It implements `kist.server.ports.Engine` (mypy checks that), so a test of the server is a test of the seam too.
A container's command runs on the host with pipes; ids, states, waits, logs, attach and exec behave as the
Engine API says, as far as the server can tell the difference.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal as signals
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kist.api import bodies, frames, progress
from kist.api.options import AttachOptions, Filters, LogOptions
from kist.errors import Conflict, InvalidParameter, NotFound, NotModified
from kist.server.ports import Json, Progress, Rows, Texts


async def _send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


@dataclass
class Attached:
    sock: socket.socket
    options: AttachOptions
    preread: bytes

    async def write(self, stream: int, data: bytes) -> None:
        if not (self.options.stdout if stream == frames.STDOUT else self.options.stderr):
            return
        try:
            await _send(self.sock, frames.frame(stream, data) if self.options.framed else data)
        except OSError:
            pass


@dataclass
class Running:
    """A process and everybody who watches it."""

    args: list[str]
    attached: list[Attached] = field(default_factory=list)
    log: list[tuple[int, bytes]] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    status: int | None = None
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.status = None
        pipe = asyncio.subprocess.PIPE
        try:
            self.process = await asyncio.create_subprocess_exec(*self.args, stdin=pipe, stdout=pipe, stderr=pipe)
        except FileNotFoundError:
            raise InvalidParameter(f'exec: "{self.args[0]}": executable file not found in $PATH') from None
        self.task = asyncio.create_task(self._run(self.process))

    async def _run(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        feeders = [asyncio.create_task(self._feed(process, a)) for a in self.attached if a.options.stdin]
        if not feeders and process.stdin is not None:
            process.stdin.close()
        await asyncio.gather(self._pump(process.stdout, frames.STDOUT), self._pump(process.stderr, frames.STDERR))
        self.status = await process.wait()
        for feeder in feeders:
            feeder.cancel()
        await asyncio.gather(*feeders, return_exceptions=True)
        for attached in self.attached:
            attached.sock.close()
        self.attached.clear()
        self.grown.set()

    async def _feed(self, process: asyncio.subprocess.Process, attached: Attached) -> None:
        assert process.stdin is not None
        data = attached.preread
        while True:
            if data:
                process.stdin.write(data)
                await process.stdin.drain()
            data = await asyncio.get_running_loop().sock_recv(attached.sock, 65536)
            if not data:
                break
        process.stdin.close()

    async def _pump(self, reader: asyncio.StreamReader, stream: int) -> None:
        while data := await reader.read(65536):
            self.log.append((stream, data))
            self.grown.set()
            for attached in list(self.attached):
                await attached.write(stream, data)


@dataclass
class Container:
    id: str
    name: str
    body: bodies.ContainerCreate
    run: Running
    state: str = "created"
    created: float = field(default_factory=time.time)
    exited: asyncio.Event = field(default_factory=asyncio.Event)
    removed: asyncio.Event = field(default_factory=asyncio.Event)


class FakeContainers:
    def __init__(self) -> None:
        self.all: dict[str, Container] = {}

    def find(self, id: str) -> Container:
        for one in self.all.values():
            if id in (one.id, one.name, "/" + one.name) or (len(id) >= 4 and one.id.startswith(id)):
                return one
        raise NotFound(f"No such container: {id}")

    async def create(self, name: str, body: bodies.ContainerCreate, *, platform: str = "",
                     writable_below: bool = False) -> Json:
        if not body.Image:
            raise InvalidParameter("config cannot be empty in order to create a container")
        if body.Image.startswith("nosuch"):
            raise NotFound(f"No such image: {body.Image}")
        taken = next((c for c in self.all.values() if name and c.name == name), None)
        if taken is not None:
            raise Conflict(f'Conflict. The container name "/{name}" is already in use by container "{taken.id}". '
                           "You have to remove (or rename) that container to be able to reuse that name.")
        id = secrets.token_hex(32)
        self.all[id] = Container(id, name or f"made_{id[:6]}", body,
                                 Running([*(body.Entrypoint or []), *(body.Cmd or ["true"])]))
        return {"Id": id, "Warnings": []}

    async def start(self, id: str) -> None:
        one = self.find(id)
        if one.state == "running":
            raise NotModified("already started")
        one.exited.clear()
        await one.run.start()
        one.state = "running"
        asyncio.create_task(self._ended(one))  # noqa: RUF006

    async def _ended(self, one: Container) -> None:
        assert one.run.task is not None
        await one.run.task
        one.state = "exited"
        one.exited.set()
        if one.body.HostConfig is not None and one.body.HostConfig.AutoRemove:
            await self.remove(one.id)

    async def stop(self, id: str, timeout: int | None = None, signal: str | None = None) -> None:
        one = self.find(id)
        if one.state != "running":
            raise NotModified("already stopped")
        await self.kill(id, signal or "SIGTERM")
        await one.exited.wait()

    async def restart(self, id: str, timeout: int | None = None, signal: str | None = None) -> None:
        if self.find(id).state == "running":
            await self.stop(id, timeout, signal)
        await self.start(id)

    async def kill(self, id: str, signal: str) -> None:
        one = self.find(id)
        if one.state != "running" or one.run.process is None:
            raise Conflict(f"cannot kill container: {id}: container {one.id} is not running")
        try:
            number = int(signal) if signal.isdigit() else signals.Signals["SIG" + signal.removeprefix("SIG")]
            one.run.process.send_signal(number)
        except (KeyError, ValueError, OSError):
            raise InvalidParameter(f"invalid signal: {signal}") from None

    async def rename(self, id: str, name: str) -> None:
        self.find(id).name = name

    async def unlink(self, name: str) -> None:
        raise NotFound(f"no link /{name}")

    async def remove(self, id: str, *, force: bool = False, volumes: bool = False) -> None:
        one = self.find(id)
        if one.state == "running":
            if not force:
                raise Conflict(f"cannot remove container \"/{one.name}\": container is running: stop the "
                               "container before removing or force remove")
            await self.kill(id, "SIGKILL")
            await one.exited.wait()
        for attached in one.run.attached:
            attached.sock.close()
        self.all.pop(one.id, None)
        one.removed.set()

    async def pause(self, id: str) -> None:
        self.find(id)

    async def unpause(self, id: str) -> None:
        self.find(id)

    async def resize(self, id: str, height: int, width: int) -> None:
        self.find(id)

    async def update(self, id: str, body: bodies.ContainerUpdate) -> Json:
        self.find(id)
        return {"Warnings": []}

    async def list(self, *, all: bool = False, limit: int = 0, size: bool = False,
                   filters: Filters | None = None) -> Rows:
        known = {"id", "label", "name", "status", "ancestor", "network", "volume"}
        for name in filters or {}:
            if name not in known:
                raise InvalidParameter(f"invalid filter '{name}'")
        return [self._row(c) for c in self.all.values() if all or c.state == "running"]

    def _row(self, one: Container) -> Json:
        return {
            "Id": one.id, "Names": ["/" + one.name], "Image": one.body.Image, "ImageID": "sha256:" + "0" * 64,
            "Command": " ".join(one.run.args), "Created": int(one.created), "Ports": [], "Labels": {},
            "State": one.state, "Status": "Up 1 second" if one.state == "running" else "Created",
            "HostConfig": {"NetworkMode": "bridge"}, "NetworkSettings": {"Networks": {}}, "Mounts": []}

    async def inspect(self, id: str, *, size: bool = False) -> Json:
        one = self.find(id)
        return {
            "Id": one.id, "Name": "/" + one.name, "Created": "2026-01-01T00:00:00Z", "Image": "sha256:0",
            "Path": one.run.args[0], "Args": one.run.args[1:], "RestartCount": 0,
            "State": {"Status": one.state, "Running": one.state == "running", "ExitCode": one.run.status or 0,
                      "Pid": 0, "Paused": False, "Restarting": False, "OOMKilled": False, "Dead": False,
                      "Error": "", "StartedAt": "0001-01-01T00:00:00Z", "FinishedAt": "0001-01-01T00:00:00Z"},
            "Config": {"Tty": one.body.Tty, "Image": one.body.Image, "OpenStdin": one.body.OpenStdin},
            "HostConfig": {"LogConfig": {"Type": "json-file"}}, "NetworkSettings": {"Networks": {}}, "Mounts": []}

    async def top(self, id: str, ps_args: str) -> Json:
        self.find(id)
        return {"Titles": ["PID", "CMD"], "Processes": [["1", ps_args]]}

    async def explain(self, id: str) -> Json:
        return {"kind": "container", "id": self.find(id).id}

    async def explain_image(self, name: str) -> Json:
        return {"kind": "image", "id": name}

    async def changes(self, id: str) -> Rows:
        self.find(id)
        return [{"Path": "/etc", "Kind": 0}]

    async def prune(self, filters: Filters) -> Json:
        ended = [c.id for c in self.all.values() if c.state != "running"]
        for id in ended:
            await self.remove(id)
        return {"ContainersDeleted": ended, "SpaceReclaimed": 0}

    async def attachable(self, id: str, detach_keys: str) -> bool:
        return self.find(id).body.Tty

    async def attach(self, id: str, options: AttachOptions, fd: int, preread: bytes) -> None:
        sock = socket.socket(fileno=fd)
        try:
            one = self.find(id)
        except NotFound:
            sock.close()
            raise
        attached = Attached(sock, options, preread)
        if options.logs:
            for stream, data in one.run.log:
                await attached.write(stream, data)
        if one.state == "exited" or not options.stream:
            sock.close()
        else:
            one.run.attached.append(attached)

    async def wait(self, id: str, condition: str) -> Awaitable[Json]:
        one = self.find(id)
        return self._waited(one, condition, already=condition == "not-running" and one.state != "running")

    async def _waited(self, one: Container, condition: str, *, already: bool) -> Json:
        if not already:
            await (one.removed if condition == "removed" else one.exited).wait()
        return {"StatusCode": one.run.status or 0}

    async def logs(self, id: str, options: LogOptions) -> tuple[bool, AsyncIterator[bytes]]:
        one = self.find(id)
        return one.body.Tty, self._lines(one, options)

    async def _lines(self, one: Container, options: LogOptions) -> AsyncIterator[bytes]:
        at = 0
        while True:
            for stream, data in one.run.log[at:]:
                if options.stdout if stream == frames.STDOUT else options.stderr:
                    yield data if one.body.Tty else frames.frame(stream, data)
            at = len(one.run.log)
            if not options.follow or one.state == "exited":
                return
            one.run.grown.clear()
            await one.run.grown.wait()

    async def stats(self, id: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Json]:
        self.find(id)
        return self._samples(stream=stream)

    async def _samples(self, *, stream: bool) -> AsyncIterator[Json]:
        yield {"read": "2026-01-01T00:00:00Z"}
        while stream:
            await asyncio.sleep(1)
            yield {"read": "2026-01-01T00:00:00Z"}

    async def export(self, id: str) -> AsyncIterator[bytes]:
        self.find(id)
        return _pieces(b"tar")

    async def archive_stat(self, id: str, path: str) -> Json:
        self.find(id)
        return {"name": os.path.basename(path), "size": 3, "mode": 0o644, "mtime": "", "linkTarget": ""}

    async def archive_get(self, id: str, path: str) -> tuple[Json, AsyncIterator[bytes]]:
        return await self.archive_stat(id, path), _pieces(b"tar", b"ball")

    async def archive_put(self, id: str, path: str, chunks: AsyncIterator[bytes], *,
                          no_overwrite_dir_non_dir: bool, copy_uid_gid: bool) -> None:
        self.find(id)
        self.received = 0
        async for chunk in chunks:
            self.received += len(chunk)


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class FakeExecs:
    def __init__(self, containers: FakeContainers) -> None:
        self._containers = containers
        self.all: dict[str, tuple[bodies.ExecCreate, Running]] = {}

    def _find(self, id: str) -> tuple[bodies.ExecCreate, Running]:
        try:
            return self.all[id]
        except KeyError:
            raise NotFound(f"No such exec instance: {id}") from None

    async def create(self, container: str, body: bodies.ExecCreate) -> str:
        one = self._containers.find(container)
        if one.state != "running":
            raise Conflict(f"container {one.id} is not running")
        id = secrets.token_hex(32)
        self.all[id] = body, Running(list(body.Cmd or []))
        return id

    async def startable(self, id: str) -> bool:
        return self._find(id)[0].Tty

    async def start(self, id: str, *, fd: int | None, preread: bytes, tty: bool, framed: bool,
                    console_size: list[int] | None) -> None:
        body, run = self._find(id)
        sock = None if fd is None else socket.socket(fileno=fd)
        if sock is not None:
            options = AttachOptions(stdin=body.AttachStdin, stdout=body.AttachStdout, stderr=body.AttachStderr,
                                    stream=True, framed=framed)
            run.attached.append(Attached(sock, options, preread))
        try:
            await run.start()
        except InvalidParameter:
            if sock is not None:
                sock.close()
            run.status = 127
            raise

    async def inspect(self, id: str) -> Json:
        _, run = self._find(id)
        return {"ID": id, "Running": run.status is None, "ExitCode": run.status}

    async def resize(self, id: str, height: int, width: int) -> None:
        self._find(id)


class FakeImages:
    def __init__(self) -> None:
        self.names = {"busybox:latest"}
        self.auth: bodies.AuthConfig | None = None

    def _find(self, name: str) -> str:
        full = name if ":" in name else name + ":latest"
        if full not in self.names:
            raise NotFound(f"No such image: {full}")
        return full

    async def pull(self, ref: str, *, platform: str, auth: bodies.AuthConfig | None, progress: Progress) -> None:
        self.auth = auth
        if ref.startswith("nosuch"):
            raise NotFound(f"pull access denied for {ref}, repository does not exist or may require 'docker login'")
        await self._work(ref, progress)
        self.names.add(ref if ":" in ref else ref + ":latest")

    async def _work(self, ref: str, report: Progress) -> None:
        report(progress.status(f"Pulling from library/{ref}", "latest"))
        for done in range(0, 3000, 1000):
            await asyncio.sleep(0)
            report(progress.bar("0123456789ab", "Downloading", done, 3000))
        if "broken" in ref:
            raise NotFound("manifest unknown")
        report(progress.step("0123456789ab", "Pull complete"))

    async def list(self, *, all: bool = False, digests: bool = False, shared_size: bool = False,
                   filters: Filters | None = None) -> Rows:
        return [{"Id": "sha256:" + "0" * 64, "RepoTags": [n], "RepoDigests": [], "Created": 0, "Size": 0,
                 "ParentId": "", "SharedSize": -1, "Labels": {}, "Containers": -1} for n in self.names]

    async def inspect(self, name: str, *, platform: str = "") -> Json:
        return {"Id": "sha256:" + "0" * 64, "RepoTags": [self._find(name)]}

    async def history(self, name: str) -> Rows:
        self._find(name)
        return []

    async def remove(self, name: str, *, force: bool = False, prune: bool = True) -> Rows:
        self.names.remove(self._find(name))
        return [{"Untagged": name}]

    async def tag(self, name: str, repo: str, tag: str) -> None:
        self._find(name)
        self.names.add(f"{repo}:{tag or 'latest'}")

    async def push(self, name: str, tag: str, *, auth: object, progress: Progress, platform: str = "") -> None:
        await self._work(self._find(name), progress)

    async def search(self, term: str, limit: int, filters: Filters, *, auth: object = None) -> Rows:
        return []

    async def prune(self, filters: Filters) -> Json:
        return {"ImagesDeleted": [], "SpaceReclaimed": 0}

    async def save(self, names: Texts, *, platform: str) -> AsyncIterator[bytes]:
        for name in names:
            self._find(name)
        return _pieces(b"tar")

    async def load(self, chunks: AsyncIterator[bytes], *, platform: str, progress: Progress) -> None:
        size = sum([len(chunk) async for chunk in chunks])
        progress({"stream": f"Loaded {size}\n"})

    async def import_(self, chunks: AsyncIterator[bytes], *, platform: str, progress: Progress, **more: object) -> None:
        await self.load(chunks, platform=platform, progress=progress)

    async def commit(self, container: str, *, config: bodies.ContainerConfig | None, **more: object) -> Json:
        return {"Id": "sha256:" + "0" * 64}

    async def manifest(self, name: str, *, auth: bodies.AuthConfig | None) -> Json:
        return {"Ref": name, "Descriptor": {}, "Raw": ""}

    async def push_manifests(self, name: str, body: bodies.ManifestListPush, *, auth: object) -> Json:
        return {"Digest": "sha256:" + "0" * 64, "Pushed": [{"Ref": one, "Digest": ""} for one in body.Sources or ()]}

    async def distribution(self, name: str, *, auth: bodies.AuthConfig | None) -> Json:
        return {"Descriptor": {}, "Platforms": []}


class FakeNetworks:
    async def list(self, filters: Filters | None = None) -> Rows:
        return [{"Name": "bridge", "Id": "b" * 64, "Driver": "bridge", "Scope": "local"}]

    async def inspect(self, id: str, *, verbose: bool = False, scope: str = "") -> Json:
        if id not in ("bridge", "b" * 64):
            raise NotFound(f"network {id} not found")
        return (await self.list())[0]

    async def map(self, names: Sequence[str] = ()) -> Json:
        for name in names:
            await self.inspect(name)
        return {"Host": {"Addresses": ["192.0.2.1"]}, "Networks": [], "Containers": [], "Reach": []}

    async def map_as_svg(self, names: Sequence[str] = ()) -> str:
        await self.map(names)
        return "<svg/>"

    async def create(self, body: bodies.NetworkCreate) -> Json:
        return {"Id": "c" * 64, "Warning": ""}

    async def remove(self, id: str) -> None:
        await self.inspect(id)

    async def connect(self, id: str, body: bodies.NetworkConnect) -> None:
        await self.inspect(id)

    async def disconnect(self, id: str, body: bodies.NetworkDisconnect) -> None:
        await self.inspect(id)

    async def prune(self, filters: Filters) -> Json:
        return {"NetworksDeleted": []}


class FakeVolumes:
    def __init__(self) -> None:
        self.all: dict[str, Json] = {}

    async def list(self, filters: Filters | None = None) -> Json:
        return {"Volumes": list(self.all.values()), "Warnings": []}

    async def inspect(self, name: str) -> Json:
        if name not in self.all:
            raise NotFound(f"get {name}: no such volume")
        return self.all[name]

    async def create(self, body: bodies.VolumeCreate) -> Json:
        name = body.Name or secrets.token_hex(32)
        made = {"Name": name, "Driver": "local", "Mountpoint": "/", "Labels": {}, "Options": {}, "Scope": "local"}
        return self.all.setdefault(name, made)

    async def export(self, name: str) -> AsyncIterator[bytes]:
        await self.inspect(name)

        async def pieces() -> AsyncIterator[bytes]:
            yield bytes(1024)

        return pieces()

    async def import_(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        async for _ in chunks:
            pass
        await self.create(bodies.VolumeCreate(Name=name))

    async def snapshot(self, name: str, target: str, *, pause: bool = True) -> Json:
        await self.inspect(name)
        return await self.create(bodies.VolumeCreate(Name=target))

    async def restore(self, name: str, source: str) -> Json:
        await self.inspect(source)
        return await self.inspect(name)

    async def remove(self, name: str, *, force: bool = False) -> None:
        await self.inspect(name)
        del self.all[name]

    async def prune(self, filters: Filters) -> Json:
        return {"VolumesDeleted": [], "SpaceReclaimed": 0}


class FakeEvents:
    """Past events as given; subscribers are counted so that a test sees them leave."""

    def __init__(self) -> None:
        self.past: list[Json] = []
        self.new: asyncio.Queue[Json] = asyncio.Queue()
        self.subscribers = 0

    async def subscribe(self, *, since: int | None, until: int | None,
                        filters: Filters) -> AsyncIterator[Json]:
        self.subscribers += 1
        try:
            for event in self.past if since is not None else []:
                yield event
            while until is None:
                yield await self.new.get()
        finally:
            self.subscribers -= 1


class FakeSystem:
    async def info(self) -> Json:
        return {"ID": "fake", "Containers": 0, "ServerVersion": "0", "OSType": "linux", "Driver": "fake"}

    async def version(self) -> Json:
        return {"Version": "0", "ApiVersion": "1.51", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64",
                "GitCommit": "", "GoVersion": "", "KernelVersion": "", "BuildTime": "", "Components": []}

    async def df(self, types: list[str]) -> Json:
        return {"LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": []}

    async def check(self, *, repair: bool, progress: Progress) -> None:
        progress({"status": "Checked", "aux": {"Checked": 0, "Findings": []}})

    async def auth(self, auth: bodies.AuthConfig) -> Json:
        return {"Status": "Login Succeeded", "IdentityToken": ""}


class FakeEngine:
    def __init__(self) -> None:
        self.containers = FakeContainers()
        self.execs = FakeExecs(self.containers)
        self.images = FakeImages()
        self.networks = FakeNetworks()
        self.volumes = FakeVolumes()
        self.events = FakeEvents()
        self.system = FakeSystem()

    async def start(self) -> None:
        """Nothing runs yet."""

    async def close(self) -> None:
        for one in list(self.containers.all.values()):
            await self.containers.remove(one.id, force=True)
        runs: list[Any] = [run for _, run in self.execs.all.values() if run.task is not None]
        for run in runs:
            if run.status is None and run.process is not None:
                run.process.kill()
            await run.task
