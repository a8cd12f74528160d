"""The further commands in a running container (exec), many at once, each with its own streams."""

from __future__ import annotations

import os

from kist.launcher import protocol
from kist.launcher.streams import Pipes, Streams
from kist.runtime.create import Stdio
from kist.runtime.exec import exec_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from kist.launcher.loop import Loop
    from kist.launcher.protocol import Attach
    from kist.runtime.create import Created
    from kist.runtime.exec import Execed

# A server that is alive notes an exec's exit in well under this; then its client's connection is closed. (A docker
# client asks for the exit status as soon as the connection ends: the engine must know it before.)
SEEN_WITHIN = 1.0
# Exits that no server has noted, kept for the next one.
MAX_UNSEEN = 1000


class Exec:
    """One command: ``ended`` once it has exited, ``released`` once its clients are sent away."""

    __slots__ = ("ended", "pid", "pidfd", "released", "streams")

    def __init__(self, execed: Execed, streams: Streams) -> None:
        self.pid = execed.pid
        self.pidfd = execed.pidfd
        self.streams = streams
        self.ended = self.released = False


class Execs:
    """The execs of one container; ``tell`` sends an event to the servers, and says whether there is one."""

    __slots__ = ("_loop", "_on_quiet", "_running", "_spill", "_tell", "unseen")

    def __init__(self, loop: Loop, tell: Callable[[dict[str, Any]], bool], on_quiet: Callable[[], None],
                 spill_directory: str) -> None:
        self._loop = loop
        self._tell = tell
        self._on_quiet = on_quiet
        self._spill = spill_directory
        self._running: dict[str, Exec] = {}
        self.unseen: dict[str, int] = {}  # exec id → exit status

    @property
    def quiet(self) -> bool:
        """No exec has a client any more."""
        return all(running.streams.quiet for running in self._running.values())

    def pids(self) -> dict[str, int]:
        return {exec_id: running.pid for exec_id, running in self._running.items() if not running.ended}

    def get(self, exec_id: str) -> Exec:
        """The running exec of that id; raises KeyError."""
        running = self._running.get(exec_id)
        if not running or running.ended:
            raise KeyError(f"No such exec instance: {exec_id}")
        return running

    def start(self, exec_id: str, process: dict[str, Any], created: Created, spec: dict[str, Any],
              seccomp: bytes | None, *, open_stdin: bool, attaches: list[tuple[Attach, int]]) -> int:
        """Execute ``process`` in the container; gives its pid. Raises what the runtime raises.

        Without a client its output goes nowhere, as in Docker. On failure the clients are still the caller's.
        """
        tty = process.get("terminal", False)
        streams = Streams(self._loop, tty=tty, stdin_once=True, log=None, spill_directory=self._spill,
                          on_detach=lambda: self._detached(exec_id), on_quiet=lambda: self._quiet(exec_id))
        if tty:
            execed = exec_process(created.pid, process, spec, stdio=None, cgroup=created.cgroup, seccomp=seccomp)
            assert execed.console is not None
            streams.use_terminal(execed.console, stdin=open_stdin)
        else:
            pipes = Pipes(stdin=open_stdin, output=bool(attaches))
            try:
                execed = exec_process(created.pid, process, spec, stdio=Stdio(*pipes.child), cgroup=created.cgroup,
                                      seccomp=seccomp)
                streams.use_pipes(pipes)
            finally:
                pipes.close()
        self._running[exec_id] = Exec(execed, streams)
        self._loop.child(execed.pid, lambda status: self._exited(exec_id, status))
        for attach, fd in attaches:
            streams.attach(attach, fd)
        return execed.pid

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
