"""The monitor: one process per container, holding its streams, log, execs and exit status.

    idle    wait for a start request, which its creator receives
    start   socket and log, while its creator (creator.py) makes the process; then the streams
    serve   the verbs of the control protocol, the streams, until the container's first process ends
    end     the last output, oom?, the cgroup, exit.json, tell, leave (when the clients have all they are due)

It needs no server: when none is there it does all the same, and the next one finds <run_dir>/monitor.sock while the
container runs (or is being started), and the files of state.py.
"""

from __future__ import annotations

import os
import sys
import time
from _socket import SHUT_WR, socket

from kist.launcher import channel, protocol, state
from kist.launcher.control import Control, Later, Refused
from kist.launcher.execs import Execs, exit_status
from kist.launcher.failures import failure
from kist.launcher.log import Both, LogFile, open_log
from kist.launcher.loop import Loop
from kist.launcher.pipes import Pipes
from kist.launcher.protocol import Attach
from kist.launcher.streams import Streams
from kist.linux.pidfd import pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any

    from kist.launcher.log import Log
    from kist.runtime.cgroup.base import Cgroup
else:
    import _signal as signal  # the same, without the enumerations


READY = protocol.encode({"ready": True})  # a monitor need not encode it again


def supervise(monitor: Monitor, seam: socket, job: dict[str, Any], fds: list[int]) -> None:
    """Stay with a container from its start, which the creator at the other end of the seam is about, to its end."""
    if start(monitor, seam, job, fds):
        monitor.serve()


def start(monitor: Monitor, seam: socket, job: dict[str, Any], fds: list[int]) -> bool:
    """Whether it runs (else all is told and taken back)."""
    monitor.take(job, fds)
    try:
        monitor.prepare(fds)
    except Exception as error:
        seam.shutdown(SHUT_WR)
        channel.receive(seam)  # the creator has taken back what it made
        monitor.refuse(failure(error))
        return False
    try:
        seam.send(READY)
    except BrokenPipeError:  # it has failed already, and said so
        pass
    answer, made = channel.receive(seam) or _bury(job)
    seam.close()
    if "error" in answer:
        monitor.refuse(answer)
        return False
    monitor.begin(answer, *made)
    return True


def _bury(job: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """The creator was killed in the midst of it: end what it had made."""
    from kist.launcher.cleanup import cleanup  # not loaded before: nobody needs it as a rule

    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        left = [int(pid) for pid in file.read().split()]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    cleanup(job["run_dir"])
    return {"error": "the process that creates the container died"}, []


class Container:
    """The container's first process (true while there is one), and where its control group is."""

    __slots__ = ("group", "pid", "pidfd")

    def __init__(self) -> None:
        self.pid = 0
        self.pidfd = -1
        self.group = ""

    def __bool__(self) -> bool:
        """It runs."""
        return self.pid > 0

    @property
    def cgroup(self) -> Cgroup:
        from kist.runtime.cgroup import open_path  # loaded long since, but not in the midst of what monitors use

        return open_path(self.group)


class Monitor:
    """One container's supervisor."""

    __slots__ = ("_attaches", "_container", "_control", "_ended", "_execs", "_file_log", "_job", "_log", "_loop",
                 "_paused", "_pipes", "_started_at", "_streams")

    def __init__(self) -> None:
        """The part that needs no container: made in the launcher, where all monitors share its memory."""
        self._loop = Loop()
        self._control = Control(self._loop, {
            "attach": self._attach, "exec": self._exec, "resize": self._resize, "kill": self._kill,
            "pause": self._pause, "resume": self._resume, "stats": self._stats, "pids": self._pids,
            "update": self._update, "seen": self._seen, "pressed": self._pressed}, self._hello)
        self._execs = Execs(self._loop, self._tell, self._leave_if_done)
        self._streams = Streams(self._loop, on_detach=self._detached, on_quiet=self._leave_if_done)
        self._job: dict[str, Any] = {}
        self._attaches: list[tuple[Attach, int]] = []
        self._pipes = Pipes()
        self._file_log = LogFile()
        self._log: Log | None = None
        self._container = Container()
        self._ended = self._end
        self._paused = False
        self._started_at = 0.0

    # Start

    def take(self, job: dict[str, Any], fds: list[int]) -> None:
        """The start request; the creator has its own copies of the descriptors."""
        self._job = self._execs.job = job
        self._loop.open()
        self._control.adopt(socket(fileno=fds[job["link"]]))
        if job["netns"] is not None:
            os.close(fds[job["netns"]])
        for words in job["attaches"]:
            attach = Attach.from_json(words)
            self._attaches.append((attach, fds[attach.fd]))
        if not job["tty"]:
            self._pipes.stderr, self._pipes.stdout = fds[-1], fds[-2]
            self._pipes.stdin = fds[-3] if job["open_stdin"] else -1
        self._streams.configure(tty=job["tty"], stdin_once=job["stdin_once"], spill_directory=job["data_dir"])

    def prepare(self, fds: list[int]) -> None:
        """What can be done while the process is being made; raises what stands in the way (then ``refuse``)."""
        job = self._job
        self._control.listen(fds[job["listener"]], job["run_dir"])
        if job["log_file"] is None:
            self._log = open_log(job["log"], self._loop, self._streams)
        else:
            files = job["log"].get("cache") or job["log"]
            self._log = self._file_log.open(files, fds[job["log_file"]])
            if files.get("compress"):
                self._file_log.notify(self._rotated)
            if files is not job["log"]:
                self._log = Both(self._log, job["log"], self._loop, self._streams)
        self._streams.log = self._log

    def refuse(self, why: dict[str, Any]) -> None:
        """The start failed: leave nothing behind, and tell why."""
        kind = why.get("kind", protocol.OTHER)
        channel.close_all([fd for _, fd in self._attaches])
        self._pipes.close_monitor()
        if self._log:
            self._log.close()
        state.forget(f"{self._job['run_dir']}/state.json")
        self._control.stop_listening()
        if not self._tell(protocol.error(self._job["n"], why["error"], kind)):
            self._record({"status": protocol.STATUS_OF_KIND[kind], "oom": False, "finished_at": time.time(),
                          "signalled": False, "error": why["error"], "kind": kind})
        self._control.close()

    def begin(self, made: dict[str, Any], pidfd: int, console: int = -1) -> None:
        """The program runs (and the creator has told the engine): connect its streams."""
        container = self._container
        container.pid = made["pid"]
        container.pidfd = pidfd
        container.group = made["cgroup"]
        self._started_at = made["started_at"]
        if console >= 0:
            self._streams.use_terminal(console, stdin=self._job["open_stdin"])
        else:
            self._streams.use_pipes(self._pipes.stdin, self._pipes.stdout, self._pipes.stderr)
        for attach, fd in self._attaches:
            self._streams.attach(attach, fd)
        self._attaches.clear()
        self._loop.child(made["pid"], self._ended)
        self._control.accept()

    def serve(self) -> None:
        """Go round until there is nothing left to do."""
        self._loop.run()

    # The rehearsal's

    def turn(self) -> None:
        """Do what is to be done now."""
        self._loop.after(self, 0, self._loop.stop)
        self.serve()

    def abandon(self) -> None:
        """Close everything, tell nobody."""
        self._control.close()
        self._streams.drop_clients()
        self._streams.close_sources()
        if self._log:
            self._log.close()
        if self._container:
            os.close(self._container.pidfd)
        self._loop.close()

    # Facts

    def _facts(self) -> dict[str, Any]:
        return {"id": self._job["id"], "pid": self._running.pid, "started_at": self._started_at,
                "monitor_pid": os.getpid(), "data_dir": self._job["data_dir"], "paused": self._paused,
                "execs": self._execs.pids(), "terminals": self._execs.terminals(), "unseen": self._execs.unseen}

    def _hello(self) -> dict[str, Any]:
        return protocol.event("hello", **self._facts())

    def _tell(self, message: dict[str, Any]) -> bool:
        """Tell every server there is; False when there is none."""
        self._control.tell(message)
        return bool(self._control.links)

    def _detached(self) -> None:
        self._tell(protocol.event("detach", exec=None))

    def _rotated(self) -> None:
        self._tell(protocol.event("rotated"))

    # The verbs

    @property
    def _running(self) -> Container:
        if not self._container:
            raise Refused("the container is not running")
        return self._container

    def _attach(self, message: dict[str, Any], fds: list[int]) -> None:
        self._streams.attach(Attach.from_json(message["attach"]), fds.pop())

    def _exec(self, message: dict[str, Any], fds: list[int]) -> Later:
        container = self._running
        attaches = [(attach, fds[attach.fd]) for attach in map(Attach.from_json, message["attaches"])]
        return self._execs.start(message, attaches, container)

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

    def _pressed(self, message: dict[str, Any], _fds: list[int]) -> None:
        self._file_log.settle(message["inode"], message["path"])

    # End

    def _end(self, wait_status: int) -> None:
        """The container's first process has exited."""
        cgroup = self._running.cgroup
        self._streams.drain()
        oom = cgroup.oom_kills() > 0
        cgroup.kill_all()  # what does not live in its pid namespace
        cgroup.remove()
        self._execs.finish()
        self._streams.drain()
        self._streams.close_sources()
        assert self._log
        self._log.close()
        self._container.pid = 0
        self._record({"status": exit_status(wait_status), "oom": oom, "finished_at": time.time(),
                      "signalled": os.WIFSIGNALED(wait_status)})
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
        if not self._container and self._streams.quiet and self._execs.quiet:
            self._control.close()
            self._loop.stop()
