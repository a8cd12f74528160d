"""The engine's side of the launcher, for asyncio.

    launcher = await Launcher.spawn(seccomp_cache=…, log=…)
    link = await launcher.start(StartRequest(…))        # the container's program has been exec'ed
    await link.resize(None, 24, 80)
    outcome = await link.exited                         # Exit(status, oom, finished_at, signalled, lost)

    link = await MonitorLink.connect(run_dir)           # in a new server: a container that lives on

Descriptors given in an AttachRequest are taken over: they are closed here in any case, and the monitor has its own.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from kist.launcher import channel, state
from kist.launcher.cleanup import cleanup
from kist.launcher.ends import Ends
from kist.launcher.explaining import explain
from kist.launcher.failures import failure
from kist.launcher.log import settle
from kist.launcher.protocol import NOT_EXECUTABLE, NOT_FOUND, OTHER, STATUS_OF_KIND, Attach, ProtocolError

__all__ = ["NOT_EXECUTABLE", "NOT_FOUND", "OTHER", "STATUS_OF_KIND", "AttachRequest", "Exit", "LaunchError", "Launcher",
           "MonitorGone", "MonitorLink", "StartRequest", "cleanup", "explain", "read_exit", "settle"]

MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")


class LaunchError(Exception):
    """A container or an exec could not be started; ``kind``: "not found", "not executable" or "other"."""

    def __init__(self, message: str, kind: str = OTHER) -> None:
        super().__init__(message)
        self.kind = kind


class MonitorGone(ConnectionError):
    """The monitor has left (its container has ended) before it answered."""


@dataclass
class AttachRequest:
    """A client's connection for a container's (or an exec's) streams; see protocol.Attach."""

    fd: int
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    framed: bool = True
    detach_keys: bytes = b""
    preread: bytes = b""

    def words(self, index: int) -> dict[str, Any]:
        return Attach(index, stdin=self.stdin, stdout=self.stdout, stderr=self.stderr, framed=self.framed,
                      detach_keys=self.detach_keys, preread=self.preread).to_json()


@dataclass
class StartRequest:
    """What a monitor needs to start a container.

    ``bundle_dir`` holds config.json (OCI). ``run_dir`` gets monitor.sock and state.json, ``data_dir`` exit.json.
    ``log``: {"driver": "json-file" | "none", "path", "max_size" (bytes, 0: no limit), "max_file", "attrs",
    "compress": tell of rotations}.
    ``netns_fd`` stays the caller's.
    """

    id: str
    bundle_dir: str
    run_dir: str
    data_dir: str
    log: dict[str, Any]
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    netns_fd: int | None = None
    attaches: list[AttachRequest] = field(default_factory=list)

    def message(self, seccomp_cache: str, link: int, ends: Ends) -> tuple[dict[str, Any], list[int]]:
        """The message and its descriptors, ``link`` (the monitor's end of the control connection) first."""
        fds = [link, ends.listener]
        netns, log = (_added(fds, fd) for fd in (self.netns_fd, ends.log))
        first = len(fds)
        fds += [attach.fd for attach in self.attaches]
        return {"n": 1, "do": "start", "id": self.id, "bundle": self.bundle_dir, "run_dir": self.run_dir,
                "data_dir": self.data_dir, "log": self.log, "tty": self.tty, "open_stdin": self.open_stdin,
                "stdin_once": self.stdin_once, "seccomp_cache": seccomp_cache, "link": 0, "listener": 1,
                "netns": netns, "log_file": log,
                "attaches": [attach.words(first + n) for n, attach in enumerate(self.attaches)]}, fds


def _added(fds: list[int], fd: int | None) -> int | None:
    """The place that a descriptor gets in a message."""
    if fd is None:
        return None
    fds.append(fd)
    return len(fds) - 1


@dataclass(frozen=True)
class Exit:
    """How a container ended. ``lost``: its monitor was killed, so nobody saw the real status; all of the
    container was killed and its cgroup removed."""

    status: int
    oom: bool = False
    finished_at: float = 0.0
    signalled: bool = False
    lost: bool = False
    error: str = ""


class Launcher:
    """The launcher process. One that dies is replaced at the next start; containers don't depend on it."""

    def __init__(self, seccomp_cache: str, log: str) -> None:
        self._seccomp_cache = seccomp_cache
        self._log = log
        self._sock: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    async def spawn(cls, *, seccomp_cache: str, log: str) -> Launcher:
        """Start the process; doesn't wait for it: requests wait in its socket."""
        os.makedirs(seccomp_cache, mode=0o700, exist_ok=True)
        launcher = cls(seccomp_cache, log)
        launcher._spawn()
        return launcher

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    async def start(self, request: StartRequest, meanwhile: Coroutine[Any, Any, None] | None = None) -> MonitorLink:
        """Start a container; returns when its program has been exec'ed. Raises LaunchError.

        ``meanwhile`` is carried out while the container is made: its program runs when that is done, and not at all if
        that fails (then this raises what it raised)."""
        ready = asyncio.ensure_future(meanwhile or asyncio.sleep(0))
        try:
            return await self._start(request, ready)
        except BaseException:
            ready.cancel()
            await asyncio.wait({ready})
            if not ready.cancelled() and (error := ready.exception()) is not None:
                raise error from None
            raise

    async def _start(self, request: StartRequest, ready: asyncio.Future[None]) -> MonitorLink:
        try:
            sock = self._running()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs, _ends(request) as ends:
                message, fds = request.message(self._seccomp_cache, theirs.fileno(), ends)
                await _send(sock, message, fds)
        except OSError as error:
            raise LaunchError(f"the launcher can't be reached: {error}") from None
        finally:
            channel.close_all([attach.fd for attach in request.attaches])
        link = MonitorLink(ours, request.run_dir)
        ready.add_done_callback(link._decide)
        try:
            link._greet(await link._expect(1))
        except MonitorGone:
            await asyncio.to_thread(cleanup, request.run_dir)
            raise LaunchError("the launcher died while it started the container") from None
        except BaseException:
            link.close()
            raise
        return link

    async def close(self) -> None:
        """Let the launcher leave; running containers go on."""
        process, self._process = self._process, None
        if self._sock:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        if process:
            await asyncio.to_thread(process.wait)

    def _running(self) -> socket.socket:
        if self._process and self._process.poll() is not None:
            self._forget()
        if not self._sock:
            self._spawn()
        assert self._sock
        return self._sock

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0)
        with theirs, open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", MAIN, "--fd", str(theirs.fileno()),
                 "--scratch", self._seccomp_cache], pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
        self._sock = ours
        asyncio.get_running_loop().add_reader(ours, self._forget)  # it never speaks: readable is its end

    def _forget(self) -> None:
        process, self._process = self._process, None
        if self._sock:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None
        if process:
            process.kill()
            process.wait()


class MonitorLink:
    """The control connection to one container's monitor.

    ``exited`` is done when the container has ended, however it did. Callbacks are called in the event loop.
    """

    def __init__(self, sock: socket.socket, run_dir: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._run_dir = run_dir
        self._data_dir = ""
        self._next = 2
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.id = ""
        self.pid = 0
        self.monitor_pid = 0
        self.started_at = 0.0
        self.paused = False
        self.execs: dict[str, int] = {}  # of a container found running: exec id → pid
        self.terminals: set[str] = set()  # … and which of them have one
        self.unseen: dict[str, int] = {}  # of a container found running: exec id → status, ended meanwhile
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        self.on_exec_exit: Callable[[str, int], None] = self.unseen.__setitem__
        self.on_detach: Callable[[str | None], None] = lambda exec_id: None
        self.on_rotated: Callable[[], None] = lambda: None
        self._listen(sock)

    @classmethod
    async def connect(cls, run_dir: str) -> MonitorLink:
        """The link to a container that runs. Raises OSError if no monitor is there."""
        link = cls(await _connect(run_dir), run_dir)
        try:
            link._greet(await link._expect(0))
        except BaseException:
            link.close()
            raise
        for exec_id in link.unseen:
            link._say({"do": "seen", "exec": exec_id})
        return link

    # Requests

    async def attach(self, request: AttachRequest) -> None:
        """Give a client the container's streams."""
        try:
            await self._ask({"do": "attach", "attach": request.words(0)}, [request.fd])
        finally:
            os.close(request.fd)

    async def exec(self, exec_id: str, process: dict[str, Any], attach: AttachRequest | None = None) -> int:
        """Execute an OCI process object (``terminal`` tells of a tty) in the container; gives its pid.

        Without an attach its output goes nowhere. Raises LaunchError. ``on_exec_exit`` tells of its end.
        """
        fds = [attach.fd] if attach else []
        try:
            pid: int = await self._ask({
                "do": "exec", "exec": exec_id, "process": process,
                "open_stdin": bool(attach and attach.stdin),
                "attaches": [attach.words(0)] if attach else []}, fds)
        finally:
            channel.close_all(fds)
        return pid

    async def resize(self, exec_id: str | None, height: int, width: int) -> None:
        await self._ask({"do": "resize", "exec": exec_id, "height": height, "width": width})

    async def kill(self, signal: int, exec_id: str | None = None) -> None:
        """Send a signal to the container's first process, or an exec's."""
        await self._ask({"do": "kill", "exec": exec_id, "signal": signal})

    async def pause(self) -> None:
        await self._ask({"do": "pause"})
        self.paused = True

    async def resume(self) -> None:
        await self._ask({"do": "resume"})
        self.paused = False

    async def stats(self) -> dict[str, Any]:
        """The cgroup's figures, see runtime.cgroup."""
        result: dict[str, Any] = await self._ask({"do": "stats"})
        return result

    async def pids(self) -> list[int]:
        """All processes of the container, as the host numbers them."""
        result: list[int] = await self._ask({"do": "pids"})
        return result

    async def update(self, resources: dict[str, Any]) -> None:
        """Change limits (OCI ``linux.resources``)."""
        await self._ask({"do": "update", "resources": resources})

    async def pressed(self, inode: int, path: str) -> None:
        """Put ``path`` in the place of the rotated log file with that inode number; drops it if that is gone."""
        await self._ask({"do": "pressed", "inode": inode, "path": path})

    def close(self) -> None:
        """Leave the monitor alone (the container goes on)."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()
        self._fail_all()
        for task in self._tasks:
            task.cancel()

    # Inside

    async def _ask(self, message: dict[str, Any], fds: Sequence[int] = ()) -> Any:
        number, self._next = self._next, self._next + 1
        waiting = self._expect(number)
        try:
            await _send(self._sock, {"n": number, **message}, fds)
        except OSError:
            self._answers.pop(number, None)
            raise MonitorGone("the container is not running") from None
        return await waiting

    def _decide(self, ready: asyncio.Future[None]) -> None:
        """Whether the program may run (creator.py)."""
        failed = ready.cancelled() or ready.exception() is not None
        self._say({"do": "stop" if failed else "go"})

    def _say(self, message: dict[str, Any]) -> None:
        """Send what needs no answer; a monitor that doesn't take it now doesn't need it."""
        try:
            channel.send(self._sock, message)
        except OSError:
            pass

    def _expect(self, number: int) -> Awaitable[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._answers[number] = future
        return future

    def _greet(self, facts: dict[str, Any]) -> None:
        self.id, self.pid, self.monitor_pid = facts["id"], facts["pid"], facts["monitor_pid"]
        self.started_at, self.paused, self._data_dir = facts["started_at"], facts["paused"], facts["data_dir"]
        self.execs = facts["execs"]
        self.terminals = set(facts.get("terminals", ()))
        self.unseen.update(facts["unseen"])

    def _listen(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._loop.add_reader(sock, self._readable)

    def _readable(self) -> None:
        while self._sock.fileno() >= 0:
            try:
                received = channel.receive(self._sock)
            except BlockingIOError:
                return
            except (OSError, ProtocolError):
                received = None
            if received is None:
                self._loop.remove_reader(self._sock)
                self._sock.close()
                self._do(self._after_end())
                return
            message, fds = received
            channel.close_all(fds)
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        match message.get("event"):
            case None:
                self._answered(message)
            case "hello":
                if 0 in self._answers:
                    self._answered({"n": 0, "ok": message})
                else:  # connected again by ourselves
                    self._missed(message["unseen"])
            case "exit":
                self._exit(message)
            case "exec_exit":
                self._missed({message["exec"]: message["status"]})
            case "detach":
                self.on_detach(message["exec"])
            case "rotated":
                self.on_rotated()

    def _answered(self, message: dict[str, Any]) -> None:
        waiting = self._answers.pop(message["n"], None)
        if not waiting or waiting.done():
            return
        if "error" in message:
            waiting.set_exception(LaunchError(message["error"]["message"], message["error"]["kind"]))
        else:
            waiting.set_result(message["ok"])

    def _missed(self, exits: dict[str, int]) -> None:
        for exec_id, status in exits.items():
            self.on_exec_exit(exec_id, status)
            self._say({"do": "seen", "exec": exec_id})

    def _exit(self, outcome: dict[str, Any]) -> None:
        if not self.exited.done():
            self.exited.set_result(Exit(outcome["status"], outcome["oom"], outcome["finished_at"],
                                        outcome["signalled"], error=outcome.get("error", "")))

    async def _after_end(self) -> None:
        """The connection has ended without an exit: was it only the connection, or the monitor?"""
        self._fail_all()
        if self.exited.done() or not self._data_dir:
            return
        try:
            self._listen(await _connect(self._run_dir))
        except OSError:
            outcome = await asyncio.to_thread(read_exit, self._data_dir)
            if not outcome:
                await asyncio.to_thread(cleanup, self._run_dir)
            if not self.exited.done():
                self.exited.set_result(outcome or Exit(137, signalled=True, lost=True))

    def _fail_all(self) -> None:
        answers, self._answers = self._answers, {}
        for waiting in answers.values():
            if not waiting.done():
                waiting.set_exception(MonitorGone("the container is not running"))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def read_exit(data_dir: str) -> Exit | None:
    """How a container ended while no server was there; None if nobody knows."""
    try:
        outcome = state.read(f"{data_dir}/exit.json")
        return Exit(outcome["status"], outcome["oom"], outcome["finished_at"], outcome["signalled"],
                    error=outcome.get("error", ""))
    except (OSError, ValueError, KeyError):
        return None


def _ends(request: StartRequest) -> Ends:
    """Raises LaunchError."""
    try:
        return Ends(request.run_dir, request.data_dir, request.log)
    except OSError as error:
        raise LaunchError(failure(error)["error"]) from None


async def _connect(run_dir: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.settimeout(0)
        directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # a short name: socket paths may have 107 bytes only
            await asyncio.get_running_loop().sock_connect(sock, f"/proc/self/fd/{directory}/monitor.sock")
        finally:
            os.close(directory)
    except BaseException:
        sock.close()
        raise
    return sock


async def _send(sock: socket.socket, message: dict[str, Any], fds: Sequence[int]) -> None:
    """Send; waits while the socket is full (hundreds of starts at once)."""
    while True:
        try:
            channel.send(sock, message, fds)
            return
        except BlockingIOError:
            await _writable(sock)


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    copy = sock.dup()  # several may wait on one socket, and the loop knows one writer per descriptor
    loop.add_writer(copy, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(copy)
        copy.close()
