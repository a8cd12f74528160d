"""The monitor: one process per container, holding its streams, log, execs and exit status.

    start   read the bundle, log, pipes, runtime.create, state.json, attach, runtime's start, answer
    serve   the verbs of the control protocol, the streams, until the container's first process ends
    end     the last output, oom?, runtime's destroy, exit.json, tell, leave (when the clients have all they are due)

It needs no server: when none is there it does all the same, and the next one finds <run_dir>/monitor.sock while the
container runs (or is being started), and the files of state.py.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from kist.launcher import channel, protocol, state
from kist.launcher.control import Control, Refused
from kist.launcher.execs import Execs, exit_status
from kist.launcher.log import open_log
from kist.launcher.loop import Loop
from kist.launcher.protocol import Attach
from kist.launcher.streams import Pipes, Streams
from kist.linux.pidfd import pidfd_send_signal
from kist.runtime import seccomp
from kist.runtime.create import Stdio, create
from kist.runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.launcher.log import Log
    from kist.runtime.create import Created


def supervise(job: dict[str, Any], fds: list[int]) -> None:
    """Start the container that ``job`` describes and stay with it until its end."""
    monitor = Monitor(job, fds)
    try:
        started = monitor.start()
    except Exception as error:
        if not isinstance(error, (RuntimeFailure, OSError, ValueError)):
            sys.excepthook(*sys.exc_info())  # a fault of ours: the engine gets its words, the log its place
        monitor.refuse(error)
        return
    monitor.serve(started)


class Monitor:
    """One container's supervisor."""

    __slots__ = ("_attaches", "_control", "_created", "_execs", "_job", "_log", "_loop", "_netns", "_number", "_paused",
                 "_program", "_spec", "_started_at", "_streams")

    def __init__(self, job: dict[str, Any], fds: list[int]) -> None:
        self._job = job
        self._number: int = job["n"]
        self._loop = Loop()
        self._control = Control(self._loop, {
            "attach": self._attach, "exec": self._exec, "resize": self._resize, "kill": self._kill,
            "pause": self._pause, "resume": self._resume, "stats": self._stats, "pids": self._pids,
            "update": self._update, "seen": self._seen}, self._hello)
        self._control.adopt(socket.socket(fileno=fds[job["link"]]))
        self._netns: int | None = None if job["netns"] is None else fds[job["netns"]]
        self._attaches = [(attach, fds[attach.fd]) for attach in map(Attach.from_json, job["attaches"])]
        self._execs = Execs(self._loop, self._tell, self._leave_if_done, job["data_dir"])
        self._log: Log | None = None
        self._created: Created | None = None
        self._program: bytes | None = None
        self._paused = False
        self._started_at = 0.0
        self._spec: dict[str, Any] = {}
        self._streams = Streams(self._loop, tty=job["tty"], stdin_once=job["stdin_once"], log=None,
                                spill_directory=job["data_dir"], on_detach=self._detached,
                                on_quiet=self._leave_if_done)

    # Start

    def start(self) -> Created:
        """Get the container going; raises what stopped it (then call ``refuse``)."""
        job = self._job
        self._control.listen(job["run_dir"])
        state.forget(f"{job['data_dir']}/exit.json")
        self._spec = state.read(f"{job['bundle']}/config.json")
        self._program = self._compile_filter()
        self._log = self._streams.log = open_log(job["log"])
        created = self._created = self._create()
        self._started_at = time.time()
        self._write_state(created)
        while self._attaches:
            self._streams.attach(*self._attaches.pop(0))
        self._created = None  # if its start fails, the runtime has removed it
        created.start()
        self._created = created
        self._loop.child(created.pid, self._ended)
        return created

    def _compile_filter(self) -> bytes | None:
        rules = self._spec.get("linux", {}).get("seccomp")
        return seccomp.compile_cached(rules, self._job["seccomp_cache"]) if rules else None

    def _create(self) -> Created:
        """The runtime's part: everything but the exec."""
        job = self._job
        tty = job["tty"]
        pipes = None if tty else Pipes(stdin=job["open_stdin"], output=True)
        try:
            created = create(self._spec, container_id=job["id"], bundle=job["bundle"],
                             stdio=Stdio(*pipes.child) if pipes else None, netns_fd=self._netns,
                             seccomp=self._program)
            if pipes:
                self._streams.use_pipes(pipes)
            else:
                assert created.console is not None
                self._streams.use_terminal(created.console, stdin=job["open_stdin"])
                created.console = None  # the streams' now
            return created
        finally:
            if pipes:
                pipes.close()
            if self._netns is not None:
                os.close(self._netns)

    def _write_state(self, created: Created) -> None:
        job = self._job
        me = os.getpid()
        os.close(state.publish(f"{job['run_dir']}/state.json", {
            "id": job["id"], "pid": created.pid, "start_time": state.start_time(created.pid),
            "monitor_pid": me, "monitor_start_time": state.start_time(me), "started_at": self._started_at,
            "bundle": job["bundle"], "data_dir": job["data_dir"]}))

    def refuse(self, error: Exception) -> None:
        """The start failed: leave nothing behind, and tell why."""
        job = self._job
        kind = getattr(error, "kind", protocol.OTHER)
        if self._created:
            self._created.abort()
        for _, fd in self._attaches:
            os.close(fd)
        self._streams.close_sources()
        self._streams.drop_clients()
        if self._log:
            self._log.close()
        if not self._tell(protocol.error(self._number, str(error), kind)):
            self._record({"status": protocol.STATUS_OF_KIND[kind], "oom": False, "finished_at": time.time(),
                          "signalled": False, "error": str(error), "kind": kind})
        state.forget(f"{job['run_dir']}/state.json")
        self._control.close()

    # Serve

    def serve(self, created: Created) -> None:
        """Answer the start, then go round until there is nothing left to do."""
        self._tell(protocol.ok(self._number, self._facts()))
        self._control.accept()
        self._loop.run()

    def _facts(self) -> dict[str, Any]:
        return {"id": self._job["id"], "pid": self._running.pid, "started_at": self._started_at,
                "monitor_pid": os.getpid(), "data_dir": self._job["data_dir"], "paused": self._paused,
                "execs": self._execs.pids(), "unseen": self._execs.unseen}

    def _hello(self) -> dict[str, Any]:
        return protocol.event("hello", **self._facts())

    def _tell(self, message: dict[str, Any]) -> bool:
        """Tell every server there is; False when there is none."""
        self._control.tell(message)
        return bool(self._control.links)

    def _detached(self) -> None:
        self._tell(protocol.event("detach", exec=None))

    # The verbs

    @property
    def _running(self) -> Created:
        if not self._created:
            raise Refused("the container is not running")
        return self._created

    def _attach(self, message: dict[str, Any], fds: list[int]) -> None:
        self._streams.attach(Attach.from_json(message["attach"]), fds.pop())

    def _exec(self, message: dict[str, Any], fds: list[int]) -> int:
        created = self._running
        attaches = [(attach, fds[attach.fd]) for attach in map(Attach.from_json, message["attaches"])]
        try:
            return self._execs.start(message["exec"], message["process"], created, self._spec, self._program,
                                     open_stdin=message["open_stdin"], attaches=attaches)
        except (RuntimeFailure, OSError) as error:
            channel.close_all(fds)
            raise Refused(str(error), getattr(error, "kind", protocol.OTHER)) from None

    def _resize(self, message: dict[str, Any], _fds: list[int]) -> None:
        exec_id = message["exec"]
        streams = self._execs.get(exec_id).streams if exec_id else self._streams
        streams.resize(message["height"], message["width"])

    def _kill(self, message: dict[str, Any], _fds: list[int]) -> None:
        exec_id = message["exec"]
        number = message["signal"]
        pidfd_send_signal(self._execs.get(exec_id).pidfd if exec_id else self._running.pidfd, number)
        if number == signal.SIGKILL and self._paused:  # a frozen process dies when it is thawed (cgroup v1)
            self._resume(message, _fds)

    def _pause(self, _message: dict[str, Any], _fds: list[int]) -> None:
        self._running.cgroup.freeze()
        self._paused = True

    def _resume(self, _message: dict[str, Any], _fds: list[int]) -> None:
        self._running.cgroup.thaw()
        self._paused = False

    def _stats(self, _message: dict[str, Any], _fds: list[int]) -> object:
        return self._running.cgroup.stats()

    def _pids(self, _message: dict[str, Any], _fds: list[int]) -> list[int]:
        return self._running.cgroup.pids()

    def _update(self, message: dict[str, Any], _fds: list[int]) -> None:
        self._running.cgroup.apply(message["resources"])

    def _seen(self, message: dict[str, Any], _fds: list[int]) -> None:
        self._execs.seen(message["exec"])

    # End

    def _ended(self, wait_status: int) -> None:
        """The container's first process has exited."""
        created = self._running
        self._streams.drain()
        oom = created.cgroup.oom_kills() > 0
        created.destroy()
        self._execs.finish()
        self._streams.drain()  # of processes that shared the host's pid namespace
        self._streams.close_sources()
        assert self._log
        self._log.close()
        self._created = None
        outcome = {"status": exit_status(wait_status), "oom": oom, "finished_at": time.time(),
                   "signalled": os.WIFSIGNALED(wait_status)}
        self._record(outcome)
        self._streams.end()
        self._leave_if_done()

    def _record(self, outcome: dict[str, Any]) -> None:
        """Leave exit.json, tell the servers (they need not wait for the disk), then make it last."""
        job = self._job
        try:
            fd = state.publish(f"{job['data_dir']}/exit.json", outcome)
        except OSError as error:
            fd = -1
            print(f"kist-monitor: {job['data_dir']}/exit.json: {error.strerror}", file=sys.stderr, flush=True)
        self._control.stop_listening()
        state.forget(f"{job['run_dir']}/state.json")
        self._tell(protocol.event("exit", **outcome))
        if fd >= 0:
            state.sync(fd, job["data_dir"])

    def _leave_if_done(self) -> None:
        """Clients that still read the last output keep the monitor, not the container."""
        if not self._created and self._streams.quiet and self._execs.quiet:
            self._control.close()
            self._loop.stop()
