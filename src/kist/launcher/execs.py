"""The further commands in a running container (exec), many at once, each with its own streams."""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair

from kist.launcher import channel, protocol
from kist.launcher.control import Later, Refused
from kist.launcher.loop import READ
from kist.launcher.pipes import Pipes
from kist.launcher.streams import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from kist.launcher.loop import Loop
    from kist.launcher.monitor import Container
    from kist.launcher.protocol import Attach

# A server that is alive notes an exec's exit in well under this; then its client's connection is closed. (A docker
# client asks for the exit status as soon as the connection ends: the engine must know it before.)
SEEN_WITHIN = 1.0
# Exits that no server has noted, kept for the next one.
MAX_UNSEEN = 1000


class Exec:
    """One command: ``ended`` once it has exited, ``released`` once its clients are sent away."""

    __slots__ = ("ended", "pid", "pidfd", "released", "streams")

    def __init__(self, streams: Streams) -> None:
        self.pid = 0
        self.pidfd = -1
        self.streams = streams
        self.ended = self.released = False


class Execs:
    """The execs of one container; ``tell`` sends an event to the servers, and says whether there is one."""

    __slots__ = ("_loop", "_on_quiet", "_running", "_tell", "job", "unseen")

    def __init__(self, loop: Loop, tell: Callable[[dict[str, Any]], bool], on_quiet: Callable[[], None]) -> None:
        self._loop = loop
        self.job: dict[str, Any] = {}  # the start request
        self._tell = tell
        self._on_quiet = on_quiet
        self._running: dict[str, Exec] = {}
        self.unseen: dict[str, int] = {}  # exec id → exit status

    @property
    def quiet(self) -> bool:
        """No exec has a client any more."""
        return all(running.streams.quiet for running in self._running.values())

    def pids(self) -> dict[str, int]:
        return {exec_id: running.pid for exec_id, running in self._running.items() if not running.ended}

    def terminals(self) -> list[str]:
        """Those that have one, as words of a message."""
        return [exec_id for exec_id, running in self._running.items() if running.streams.tty]

    def get(self, exec_id: str) -> Exec:
        """The running exec of that id."""
        running = self._running.get(exec_id)
        if not running or running.ended:
            raise Refused(f"No such exec instance: {exec_id}")
        return running

    def start(self, message: dict[str, Any], attaches: list[tuple[Attach, int]], container: Container) -> Later:
        """Execute in the container; the answer comes when the program runs, or can't.

        Without a client its output goes nowhere, as in Docker.
        """
        pipes = None
        if not message["process"].get("terminal"):
            pipes = Pipes().open(stdin=message["open_stdin"], output=bool(attaches))
        seam, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        creator = os.fork()
        if creator == 0:
            from kist.launcher.creator import create_exec  # loaded long since; not the monitor's business

            try:
                self._loop.leave()
                seam.close()
                create_exec(message, self.job, container, pipes, theirs)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)
        theirs.close()
        if pipes:
            pipes.close_child()
        later = Later(message["n"])
        self._loop.expect(1)
        self._loop.watch(seam.fileno(), READ,
                         lambda _events: self._created(message, attaches, pipes, seam, later))
        return later

    def seen(self, exec_id: str) -> None:
        """A server has noted the exit."""
        self.unseen.pop(exec_id, None)
        self._release(exec_id)

    def finish(self) -> None:
        """The container has ended, and every process in it: take the last exits, close everything."""
        for exec_id, running in list(self._running.items()):
            if not running.ended:
                try:
                    _, status = os.waitpid(running.pid, 0)
                except ChildProcessError:
                    status = 9
                self._exited(exec_id, status)
            running.streams.drain()
            running.streams.close_sources()

    def _created(self, message: dict[str, Any], attaches: list[tuple[Attach, int]], pipes: Pipes | None,
                 seam: socket, later: Later) -> None:
        """The creator has said how it went (or died)."""
        self._loop.forget(seam.fileno())
        received = channel.receive(seam)
        seam.close()
        answer, fds = received or ({"error": "the process that creates the exec died", "kind": protocol.OTHER}, [])
        if "error" in answer:
            later.done(protocol.error(later.number, answer["error"], answer["kind"]))
            channel.close_all([fd for _, fd in attaches])
            if pipes:
                pipes.close_monitor()
        else:
            self._begin(message, attaches, pipes, answer["pid"], fds)
            later.done(protocol.ok(later.number, answer["pid"]))
        self._loop.expect(-1)

    def _begin(self, message: dict[str, Any], attaches: list[tuple[Attach, int]], pipes: Pipes | None, pid: int,
               fds: list[int]) -> None:
        exec_id = message["exec"]
        streams = Streams(self._loop, on_detach=lambda: self._detached(exec_id),
                          on_quiet=lambda: self._quiet(exec_id))
        streams.configure(tty=pipes is None, stdin_once=True, spill_directory=self.job["data_dir"])
        running = self._running[exec_id] = Exec(streams)
        running.pid, running.pidfd = pid, fds[0]
        self._loop.child(pid, lambda status: self._exited(exec_id, status))
        if pipes:
            streams.use_pipes(pipes.stdin, pipes.stdout, pipes.stderr)
        else:
            streams.use_terminal(fds[1], stdin=message["open_stdin"])
        for attach, fd in attaches:
            streams.attach(attach, fd)

    def _detached(self, exec_id: str) -> None:
        self._tell(protocol.event("detach", exec=exec_id))

    def _exited(self, exec_id: str, wait_status: int) -> None:
        running = self._running[exec_id]
        running.ended = True
        os.close(running.pidfd)
        running.streams.drain()
        status = exit_status(wait_status)
        self.unseen[exec_id] = status
        while len(self.unseen) > MAX_UNSEEN:
            del self.unseen[next(iter(self.unseen))]
        if self._tell(protocol.event("exec_exit", exec=exec_id, status=status)):
            self._loop.after(running, SEEN_WITHIN, lambda: self._release(exec_id))
        else:
            self._release(exec_id)

    def _release(self, exec_id: str) -> None:
        """Let the clients go. What its children still write goes nowhere, but doesn't stop them."""
        running = self._running.get(exec_id)
        if running and running.ended and not running.released:
            running.released = True
            self._loop.cancel(running)
            running.streams.end()

    def _quiet(self, exec_id: str) -> None:
        """The last client has gone: an exec that has ended is forgotten now."""
        running = self._running.get(exec_id)
        if running and running.released:
            del self._running[exec_id]
        self._on_quiet()


def exit_status(wait_status: int) -> int:
    """The shell's convention: 128 + n for signal n."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code
