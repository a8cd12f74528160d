"""The comfortable way: containers as objects that are gone when their `with` block ends.

    with connect() as k, k.run("redis") as c:
        c.exec("redis-cli set a 1").check()
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kist.client.client import Client
from kist.client.streams import carry, demultiplex
from kist.errors import EngineFailure, KistError, NotFound

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

Command = str | Sequence[str]
JSON = dict[str, Any]


class Result(NamedTuple):
    """How a command ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """The standard output as text."""
        return self.stdout.decode(errors="replace")

    def check(self) -> Result:
        """Itself, when the command succeeded; else EngineFailure with what it wrote on stderr."""
        if self.exit_code:
            words = self.stderr.decode(errors="replace").strip() or self.text.strip()
            raise EngineFailure(f"exit status {self.exit_code}: {words}")
        return self


class Kist(Client):
    """A server. `connect()` makes one."""

    def run(self, image: str, command: Command | None = None, *, name: str = "",
            env: Mapping[str, str] | None = None, ports: Mapping[str, int | None] | None = None,
            volumes: Mapping[str, str] | None = None, network: str = "", labels: Mapping[str, str] | None = None,
            user: str = "", workdir: str = "", entrypoint: Command | None = None, memory: int | None = None,
            pull: str = "missing", body: JSON | None = None) -> Container:
        """Create a container and start it in the background; the image is pulled when it is missing.

        `ports`: port in the container (`"80"`, `"53/udp"`) → port on 127.0.0.1, None for any that is free.
        `volumes`: path here or volume name → path in the container (`:ro` behind it: read-only).
        `memory`: a limit in bytes. `pull`: "missing", "always" or "never".
        `body`: whatever else the API's create request knows, laid over the rest (HostConfig field by field).
        """
        container = self.create(image, command, name=name, env=env, ports=ports, volumes=volumes, network=network,
                                labels=labels, user=user, workdir=workdir, entrypoint=entrypoint, memory=memory,
                                pull=pull, body=body)
        try:
            container.start()
        except BaseException:
            container.remove()
            raise
        return container

    def create(self, image: str, command: Command | None = None, *, name: str = "",
               env: Mapping[str, str] | None = None, ports: Mapping[str, int | None] | None = None,
               volumes: Mapping[str, str] | None = None, network: str = "",
               labels: Mapping[str, str] | None = None, user: str = "", workdir: str = "",
               entrypoint: Command | None = None, memory: int | None = None, pull: str = "missing",
               body: JSON | None = None) -> Container:
        """As `run`, without the start."""
        host: JSON = {}
        request: JSON = {"Image": image, "HostConfig": host}
        if command is not None:
            request["Cmd"] = _words(command)
        if entrypoint is not None:
            request["Entrypoint"] = _words(entrypoint)
        for field, text in (("User", user), ("WorkingDir", workdir)):
            if text:
                request[field] = text
        if env:
            request["Env"] = [f"{key}={value}" for key, value in env.items()]
        if labels:
            request["Labels"] = dict(labels)
        if network:
            host["NetworkMode"] = network
        if memory is not None:
            host["Memory"] = memory
        if volumes:
            host["Binds"] = [f"{source}:{target}" for source, target in volumes.items()]
        if ports:
            _publish(request, ports)
        for field, value in (body or {}).items():
            request[field] = {**host, **value} if field == "HostConfig" else value
        return Container(self, self._made(request, name, pull))

    def _made(self, request: JSON, name: str, pull: str) -> str:
        if pull == "always":
            self.pull(request["Image"])
        try:
            return str(self.containers.create(request, name=name)["Id"])
        except NotFound as error:
            if pull != "missing" or "no such image" not in error.message.lower():
                raise
        self.pull(request["Image"])
        return str(self.containers.create(request, name=name)["Id"])

    def pull(self, image: str) -> None:
        """Get an image and wait until it is here."""
        name, tag = image, ""
        if "@" not in image and ":" not in image.rpartition("/")[2]:
            tag = "latest"
        for _ in self.images.pull(name, tag=tag):
            pass

    def get(self, container: str) -> Container:
        """A container that exists, by its name or id; NotFound when it doesn't."""
        return Container(self, str(self.containers.inspect(container)["Id"]))


class Container:
    """One container. As a context manager it is removed at the end, running or not, with its anonymous volumes."""

    def __init__(self, client: Kist, container_id: str) -> None:
        self._client = client
        self.id = container_id

    def __repr__(self) -> str:
        return f"<Container {self.id[:12]}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.remove()

    def inspect(self) -> JSON:
        """Everything about it."""
        return self._client.containers.inspect(self.id)

    @property
    def name(self) -> str:
        return str(self.inspect()["Name"]).removeprefix("/")

    @property
    def status(self) -> str:
        """`created`, `running`, `paused`, `restarting`, `exited`, `removing` or `dead`."""
        return str(self.inspect()["State"]["Status"])

    @property
    def address(self) -> str:
        """Its address in its first network, "" when it has none."""
        networks = self.inspect()["NetworkSettings"]["Networks"] or {}
        return next((str(one["IPAddress"]) for one in networks.values() if one.get("IPAddress")), "")

    def port(self, port: int | str) -> tuple[str, int]:
        """Where a port of it is published: (address, port); NotFound when it isn't."""
        wanted = str(port) if "/" in str(port) else f"{port}/tcp"
        targets = (self.inspect()["NetworkSettings"]["Ports"] or {}).get(wanted)
        if not targets:
            raise NotFound(f"port {wanted} of {self.id[:12]} is not published")
        address = str(targets[0]["HostIp"])
        return "127.0.0.1" if address in ("", "0.0.0.0") else address, int(targets[0]["HostPort"])

    def start(self) -> None:
        self._client.containers.start(self.id)

    def stop(self, timeout: int | None = None) -> None:
        """Ask it to end; after `timeout` seconds (10 unless the image says else) it is killed."""
        self._client.containers.stop(self.id, timeout=timeout)

    def kill(self, signal: str = "KILL") -> None:
        self._client.containers.kill(self.id, signal)

    def wait(self) -> int:
        """Wait until it has ended; its exit status."""
        return int(self._client.containers.wait(self.id)["StatusCode"])

    def remove(self) -> None:
        """Remove it, running or not; no error when it is gone already."""
        try:
            self._client.containers.remove(self.id, force=True, volumes=True)
        except NotFound:
            pass

    def exec(self, command: Command, *, stdin: bytes = b"", env: Mapping[str, str] | None = None, user: str = "",
             workdir: str = "") -> Result:
        """Run one more command in it, to its end."""
        body: JSON = {"Cmd": _words(command), "AttachStdout": True, "AttachStderr": True,
                      "AttachStdin": bool(stdin), "User": user, "WorkingDir": workdir,
                      "Env": [f"{key}={value}" for key, value in (env or {}).items()]}
        execs = self._client.execs
        exec_id = execs.create(self.id, {field: value for field, value in body.items() if value})
        connection, early = execs.start(exec_id).hijack()
        output: tuple[list[bytes], list[bytes]] = ([], [])
        for is_error, piece in demultiplex(carry(connection, early, stdin), framed=True):
            output[is_error].append(piece)
        return Result(int(execs.inspect(exec_id)["ExitCode"] or 0), b"".join(output[0]), b"".join(output[1]))

    def logs(self, *, follow: bool = False) -> Iterator[tuple[bool, bytes]]:
        """What it wrote so far, and with `follow` what it writes: (is it stderr, bytes)."""
        tty = bool(self.inspect()["Config"].get("Tty"))
        answer = self._client.containers.logs(self.id, follow=follow)
        try:
            yield from demultiplex(answer.chunks(), framed=not tty)
        finally:
            answer.close()

    def output(self) -> Result:
        """Wait until it has ended: its exit status, and all that it wrote."""
        status = self.wait()
        both: tuple[list[bytes], list[bytes]] = ([], [])
        for is_error, piece in self.logs():
            both[is_error].append(piece)
        return Result(status, b"".join(both[0]), b"".join(both[1]))

    def wait_until(self, ready: Callable[[Container], object], *, seconds: float = 30.0) -> Self:
        """Wait until `ready(self)` is true (an error of the server means not yet); TimeoutError after that long.

            k.run("redis").wait_until(lambda c: c.exec("redis-cli ping").exit_code == 0)
        """
        end = time.monotonic() + seconds
        problem: KistError | None = None
        while True:
            try:
                if ready(self):
                    return self
            except KistError as error:
                problem = error
            if time.monotonic() >= end:
                raise TimeoutError(f"{self!r} was not ready after {seconds:g} s" + (f": {problem}" if problem else ""))
            time.sleep(0.05)


def _words(command: Command) -> list[str]:
    """A command line is split as a shell would, without the rest of what a shell does."""
    return shlex.split(command) if isinstance(command, str) else list(command)


def _publish(request: JSON, ports: Mapping[str, int | None]) -> None:
    bindings = {}
    for port, place in ports.items():
        inside = port if "/" in port else f"{port}/tcp"
        bindings[inside] = [{"HostIp": "127.0.0.1", "HostPort": "" if place is None else str(place)}]
    request["ExposedPorts"] = {port: {} for port in bindings}
    request["HostConfig"]["PortBindings"] = bindings
