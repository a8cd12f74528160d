"""Further commands in running containers. An exec lives in memory only; its process is the monitor's."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import msgspec

from kist.api import bodies
from kist.engine import detachkeys, health, links, names, rootview, signals, states
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.engine.spec import exec_process
from kist.errors import Conflict, EngineFailure, InvalidParameter, KistError, NotFound
from kist.launcher.client import NOT_EXECUTABLE, NOT_FOUND, STATUS_OF_KIND, AttachRequest, LaunchError

Json = dict[str, Any]
KEPT_MOST = 256  # finished execs per container that can still be inspected
_FRAME = "OCI runtime exec failed: exec failed: {}: unknown"
# How the runtime says that there is no such working directory, and Docker's words for why.
_CHDIR = "change to "
_WHY = {"ENOENT": "no such file or directory", "ENOTDIR": "not a directory", "EACCES": "permission denied"}


class Exec:
    """One exec. `begun` is set when its process is there (or never will be), `ended` is done when it has exited."""

    __slots__ = ("begun", "body", "container", "ended", "exit_code", "id", "pid", "running", "started")

    def __init__(self, exec_id: str, container: Container, body: Json) -> None:
        self.id = exec_id
        self.container = container
        self.body = body
        self.started = self.running = False
        self.pid = 0
        self.exit_code: int | None = None
        self.begun = asyncio.Event()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, status: int) -> None:
        self.running, self.exit_code, self.pid = False, status, 0
        self.begun.set()
        if not self.ended.done():
            self.ended.set_result(None)

    def container_ended(self) -> None:
        if self.running:
            self.end(137)


class Execs:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._all: dict[str, Exec] = {}

    async def create(self, container: str, body: bodies.ExecCreate) -> str:
        found = self._parts.register.get(container)
        if found.state == states.PAUSED:
            raise Conflict(f"Container {container} is paused, unpause the container before exec")  # as it was asked for
        found.monitor("exec")
        if not body.Cmd:
            raise InvalidParameter("No exec command specified")
        for entry in body.Env or ():
            if not entry.partition("=")[0]:
                raise InvalidParameter(f"invalid environment variable: {entry}")
        detachkeys.parse(body.DetachKeys)
        made = self._add(found, names.new_id(), msgspec.to_builtins(body))
        self._publish(made, f"exec_create: {_shown(body.Cmd)}")
        return made.id

    async def startable(self, id: str) -> bool:
        """Whether it has a terminal; raises what a start would be refused with."""
        found = self._get(id)
        if found.started:
            raise Conflict(f"Error: Exec command {id} has already run")
        found.container.monitor("exec")
        return bool(found.body["Tty"])

    async def start(self, id: str, *, fd: int | None, preread: bytes, tty: bool, framed: bool,
                    console_size: list[int] | None) -> None:
        """Run it with the client's connection as its streams, or detached without one."""
        found = self._get(id)
        attach = None
        if fd is not None:
            body = found.body
            attach = AttachRequest(fd, stdin=body["AttachStdin"], stdout=body["AttachStdout"],
                                   stderr=body["AttachStderr"], framed=framed and not body["Tty"],
                                   detach_keys=detachkeys.parse(body["DetachKeys"]) if body["Tty"] else b"",
                                   preread=preread)
        try:
            await self.startable(id)
            if console_size:
                found.body["ConsoleSize"] = console_size
        except BaseException:
            if attach is not None:
                os.close(attach.fd)
            raise
        await self._run(found, attach)

    async def _run(self, found: Exec, attach: AttachRequest | None) -> None:
        found.started = found.running = True
        try:
            link = found.container.monitor("exec")
            process = await asyncio.to_thread(self._process, found)
        except BaseException:
            found.end(126)
            if attach is not None:
                os.close(attach.fd)
            raise
        self._publish(found, f"exec_start: {_shown(found.body['Cmd'])}")
        link.on_exec_exit = lambda exec_id, status: self._exited(found.container, exec_id, status)
        try:
            pid = await link.exec(found.id, process, attach)
        except LaunchError as error:
            found.end(STATUS_OF_KIND[error.kind] if error.kind in (NOT_FOUND, NOT_EXECUTABLE) else 126)
            kind = InvalidParameter if error.kind in (NOT_FOUND, NOT_EXECUTABLE) else EngineFailure
            raise kind(_words(str(error))) from None
        except OSError as error:
            found.end(128)
            raise Conflict(f"container {found.container.id} is not running") from error
        if found.running:
            found.pid = pid
        found.begun.set()

    def _process(self, found: Exec) -> Json:
        record = found.container.record
        user = rootview.container_user(self._parts.store, found.container,
                                       found.body["User"] or record.config["User"])
        return exec_process(record, found.body, user, known_capabilities=self._parts.host.known_capabilities,
                            linked=links.variables(record, self._parts.register))

    def _exited(self, container: Container, exec_id: str, status: int) -> None:
        found = container.execs.get(exec_id)
        if found is None:
            return
        found.end(status)
        self._publish(found, "exec_die", execID=exec_id, exitCode=str(status))
        self._prune(container)

    def adopt(self, container: Container) -> None:
        """The execs of a container that was found running after a server restart."""
        link = container.link
        assert link is not None
        for exec_id, pid in link.execs.items():
            words = bodies.ExecCreate(Cmd=[], Tty=exec_id in link.terminals)
            found = self._add(container, exec_id, msgspec.to_builtins(words))
            found.started = found.running = True
            found.begun.set()
            found.pid = pid
        for exec_id, status in link.unseen.items():
            self._add(container, exec_id, msgspec.to_builtins(bodies.ExecCreate(Cmd=[]))).end(status)
        link.on_exec_exit = lambda exec_id, status: self._exited(container, exec_id, status)

    async def inspect(self, id: str) -> Json:
        found = self._get(id)
        body, words = found.body, found.body["Cmd"] or [""]
        return {
            "ID": found.id,
            "Running": found.running,
            "ExitCode": found.exit_code,
            "ProcessConfig": {"tty": body["Tty"], "entrypoint": words[0], "arguments": words[1:],
                              "privileged": body["Privileged"], "user": body["User"]},
            "OpenStdin": body["AttachStdin"],
            "OpenStderr": body["AttachStderr"],
            "OpenStdout": body["AttachStdout"],
            "CanRemove": False,
            "ContainerID": found.container.id,
            "DetachKeys": body["DetachKeys"],
            "Pid": found.pid,
        }

    async def resize(self, id: str, height: int, width: int) -> None:
        found = self._get(id)
        if found.running:  # a client asks as soon as its start is answered, which is before the process is there
            try:
                await asyncio.wait_for(found.begun.wait(), 10)  # as long as moby waits (daemon/resize.go)
            except TimeoutError:
                raise EngineFailure("timeout waiting for exec session ready") from None
        if not found.running:
            raise InvalidParameter(f"exec process {id} is not running")
        if not found.body["Tty"]:
            return
        try:
            await found.container.monitor("resize").resize(found.id, height, width)
        except (LaunchError, OSError) as error:
            raise EngineFailure(f"cannot resize exec {id}: {error}") from None

    async def probe(self, container: Container, words: list[str], timeout: float, limit: int) -> tuple[int, bytes]:
        """Run a healthcheck: its exit status and output. Raises TimeoutError after killing it."""
        body = bodies.ExecCreate(Cmd=words, AttachStdout=True, AttachStderr=True)
        found = self._add(container, names.new_id(), msgspec.to_builtins(body))
        self._publish(found, f"exec_create: {_shown(words)}")
        ours, theirs = health.socket_pair()
        try:
            attach = AttachRequest(theirs, stdin=False, stdout=True, stderr=True, framed=False)
            await self._run(found, attach)
            async with asyncio.timeout(timeout):
                output = await health.read_output(ours, limit)
                await asyncio.shield(found.ended)
            return found.exit_code or 0, output
        except TimeoutError:
            await self._kill(found)
            raise
        finally:
            ours.close()
            self._drop(found)

    async def _kill(self, found: Exec) -> None:
        try:
            await found.container.monitor("kill").kill(signals.NUMBERS["KILL"], found.id)
        except (KistError, LaunchError, OSError):
            pass

    def forget(self, container: Container) -> None:
        """The container is gone."""
        for exec_id in container.execs:
            self._all.pop(exec_id, None)
        container.execs.clear()

    def _add(self, container: Container, exec_id: str, body: Json) -> Exec:
        made = Exec(exec_id, container, body)
        self._all[exec_id] = container.execs[exec_id] = made
        return made

    def _drop(self, found: Exec) -> None:
        self._all.pop(found.id, None)
        found.container.execs.pop(found.id, None)

    def _prune(self, container: Container) -> None:
        finished = [found for found in container.execs.values() if found.started and not found.running]
        for found in finished[:max(0, len(finished) - KEPT_MOST)]:
            self._drop(found)

    def _get(self, exec_id: str) -> Exec:
        found = self._all.get(exec_id)
        if found is None:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def _publish(self, found: Exec, action: str, **attributes: str) -> None:
        attributes = {"execID": found.id, **attributes}
        self._parts.events.publish("container", action, found.container.id,
                                   found.container.attributes(**attributes))


def _shown(words: list[str]) -> str:
    """In an event; a program without arguments has the blank before them none the less (moby: entrypoint + " " +)."""
    return f"{words[0]} {' '.join(words[1:])}"


def _words(said: str) -> str:
    """The runtime's words in the frame by which docker knows them; those about `-w` are runc's."""
    if said.startswith("process.cwd: ") and said.endswith(" is not absolute"):
        return _FRAME.format("Cwd must be an absolute path")
    step, _, why = said.rpartition(": ")
    if step.startswith(_CHDIR) and why in _WHY:
        said = f'chdir to cwd ("{step.removeprefix(_CHDIR)}") set in config.json failed: {_WHY[why]}'
    return _FRAME.format(f"unable to start container process: {said}")
