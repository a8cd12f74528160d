"""One more process in a container that runs (`exec`): born in its pid namespace and control group, then joined
to the rest, then made the user's like init was."""

from __future__ import annotations

import _socket as socket
import errno
import os
import select

from kist.linux import namespaces as ns
from kist.linux import process as p
from kist.linux.openat2 import Root
from kist.linux.pidfd import pidfd_open, pidfd_send_signal
from kist.runtime import process as process_steps
from kist.runtime import scheduling, wire
from kist.runtime.errors import RuntimeFailure, StepError, step_error
from kist.runtime.init import default_signals, run, trust_no_files
from kist.runtime.program import execute, find
from kist.runtime.root import HostView
from kist.runtime.step import Context, Step
from kist.runtime.streams import standard_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any

    from kist.runtime.cgroup.base import Cgroup
    from kist.runtime.create import Stdio
else:
    import _signal as signal  # the same, without the enums: they take 3 ms to make

_ALL = ("cgroup", "ipc", "uts", "network", "mount", "pid", "time", "user")


class Execed:
    """The new process, running. ``console`` is its terminal's master, or None."""

    __slots__ = ("console", "listener", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.console: int | None = None
        self.listener: int | None = None


class _Plan:
    __slots__ = ("early", "host", "inside", "last")

    def __init__(self, process: dict[str, Any], spec: dict[str, Any], container_id: str) -> None:
        self.host: list[Step] = [HostView()]
        if process.get("oomScoreAdj") is not None:
            self.host.append(scheduling.OomScore(process["oomScoreAdj"]))
        self.host += process_steps.labels(process)
        affinity = process.get("execCPUAffinity") or {}
        if affinity.get("initial"):
            self.host.append(scheduling.Affinity(affinity["initial"]))
        self.inside: list[Step] = []
        if process.get("terminal"):
            from kist.runtime.console import OpenConsole

            self.inside.append(OpenConsole(process, bind=False))
        self.early, self.last = process_steps.steps_for(process, spec.get("linux") or {}, container_id,
                                                        keep_groups=process_steps.keeps_groups(spec))
        if affinity.get("final"):
            self.early.insert(0, scheduling.Affinity(affinity["final"]))


def exec_process(init_pid: int, process: dict[str, Any], spec: dict[str, Any], *, stdio: Stdio | None,
                 cgroup: Cgroup, seccomp: bytes | None = None, preserve_fds: int = 0,
                 container_id: str = "exec", init_pidfd: int | None = None) -> Execed:
    """Returns when execve(2) succeeded; else ExecError or StepError, and no process is left.

    ``init_pidfd`` is the container's first process, which a number alone may not be any more: give it where one is held
    since before that process could end. It stays the caller's."""
    todo = _Plan(process, spec, container_id)
    context = Context(spec, process, "/")
    context.cgroup = cgroup
    context.seccomp = seccomp if seccomp is not None else _compile(spec)
    if stdio is not None and not process.get("terminal"):
        context.stdio = (stdio.stdin, stdio.stdout, stdio.stderr)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        target = pidfd_open(init_pid) if init_pidfd is None else os.dup(init_pidfd)
        try:
            execed = _born(init_pid, target, todo, context, ours, theirs, preserve_fds)
        finally:
            os.close(target)
            theirs.close()
        _follow(execed, ours)
        return execed
    except OSError as error:
        raise step_error("enter the container", error) from None
    finally:
        ours.close()


def _compile(spec: dict[str, Any]) -> bytes | None:
    section = (spec.get("linux") or {}).get("seccomp")
    if not section:
        return None
    from kist.runtime.seccomp import compile

    return compile(section)


def differing(init_pid: int) -> int:
    """The flags of the namespaces that the container has for itself: joining our own costs, and joining our
    own user namespace is refused."""
    flags = 0
    for kind in _ALL:
        try:
            theirs = os.stat(ns.ns_path(init_pid, kind))
        except FileNotFoundError:
            continue
        if theirs.st_ino != os.stat(ns.ns_path("self", kind)).st_ino:
            flags |= ns.FLAG[kind]
    return flags


def _born(init_pid: int, target: int, todo: _Plan, context: Context, ours: socket.socket, theirs: socket.socket,
          preserve_fds: int) -> Execed:
    """A child's pid namespace is chosen by its parent: for one clone the caller points at the container's."""
    flags = differing(init_pid)
    _must_live(target)
    own_pid_ns = os.open(ns.ns_path("self", "pid"), os.O_RDONLY | os.O_CLOEXEC)
    group_fd = context.cgroup.clone_fd()
    try:
        if flags & ns.CLONE_NEWPID:
            ns.setns(target, ns.CLONE_NEWPID)
        try:
            pid, pidfd = _clone(group_fd, init_pid, target, context)
            if pid == 0:
                ours.close()
                _main(todo, context, theirs, target, flags & ~ns.CLONE_NEWPID, group_fd is None, preserve_fds)
        finally:
            if flags & ns.CLONE_NEWPID:
                _point_back(own_pid_ns)
    finally:
        os.close(own_pid_ns)
        if group_fd is not None:
            os.close(group_fd)
    return Execed(pid, pidfd)


def _must_live(target: int) -> None:
    """While it lives, what /proc shows under its number is of this process and no other."""
    poll = select.poll()
    poll.register(target, select.POLLIN)
    if poll.poll(0):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _point_back(own_pid_ns: int) -> None:
    """Root of a user namespace (rootless Podman) whose pid namespace is the machine's may not: then the caller, a
    command that is about to end, is to have no more children."""
    try:
        ns.setns(own_pid_ns, ns.CLONE_NEWPID)
    except PermissionError:
        if not ns.in_user_namespace():
            raise


def _clone(group_fd: int | None, init_pid: int, target: int, context: Context) -> tuple[int, int]:
    """If init made groups of its own and moved below (systemd does), the container's top takes no process:
    then the new one goes where init is."""
    try:
        return ns.clone3(0, cgroup_fd=group_fd)
    except OSError as error:
        if group_fd is None or error.errno not in (errno.EBUSY, errno.EOPNOTSUPP):
            raise
    path = (context.cgroup.layout.v2 or "") + _v2_path(init_pid)
    _must_live(target)
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return ns.clone3(0, cgroup_fd=fd)
    finally:
        os.close(fd)


def _v2_path(pid: int) -> str:
    fd = os.open(f"/proc/{pid}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for line in os.read(fd, 65536).decode().splitlines():
            if line.startswith("0::"):
                return line[3:]
    finally:
        os.close(fd)
    return "/"


def _main(todo: _Plan, ctx: Context, sync: socket.socket, target: int, flags: int, own_cgroup: bool,
          preserve_fds: int) -> None:
    """Never returns."""
    try:
        _enter(todo, ctx, sync, target, flags, own_cgroup, preserve_fds)
    except RuntimeFailure as error:
        wire.send_error(sync, error)
    except OSError as error:
        wire.send_error(sync, step_error("enter the container", error))
    except BaseException as error:
        wire.send_error(sync, StepError(f"{type(error).__name__}: {error}"))
    finally:
        os._exit(1)


def _enter(todo: _Plan, ctx: Context, sync: socket.socket, target: int, flags: int, own_cgroup: bool,
           preserve_fds: int) -> None:
    trust_no_files()
    p.prctl(p.PR_SET_DUMPABLE, 0)
    default_signals()
    os.setsid()
    run(todo.host, ctx)
    if own_cgroup:
        ctx.cgroup.join_self()
    if flags:
        ns.setns(target, flags)
    if flags & ns.CLONE_NEWUSER:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        p.prctl(p.PR_SET_DUMPABLE, 0)
    ctx.root = Root.at("/")
    run(todo.inside, ctx)
    if ctx.console >= 0:
        wire.send(sync, b"C", fd=ctx.console)
        os.close(ctx.console)
    standard_streams(ctx)
    p.close_range(3 + preserve_fds, flags=p.CLOSE_RANGE_CLOEXEC)
    run(todo.early, ctx)
    ctx.program = find(ctx.process)
    run(todo.last, ctx)
    if ctx.listener >= 0:
        wire.send(sync, b"N", fd=ctx.listener)
        os.close(ctx.listener)
    execute(ctx.program, ctx.process)


def _follow(execed: Execed, sync: socket.socket) -> None:
    try:
        while True:
            tag, payload, fd = wire.receive(sync)
            if tag == b"C":
                execed.console = fd
            elif tag == b"N":
                execed.listener = fd
            elif tag == b"E":
                raise wire.error_of(payload)
            elif tag == b"":
                _check_alive(execed)
                return
    except BaseException:
        _abort(execed)
        raise


def _check_alive(execed: Execed) -> None:
    """The end of the stream means execve(2), or death by SIGKILL before it (out of memory)."""
    poll = select.poll()
    poll.register(execed.pidfd, select.POLLIN)
    if poll.poll(0) and not p.executed(execed.pid):
        raise StepError("the process was killed while it entered the container")


def _abort(execed: Execed) -> None:
    try:
        pidfd_send_signal(execed.pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    os.waitpid(execed.pid, 0)
    for fd in (execed.console, execed.listener, execed.pidfd):
        if fd is not None:
            os.close(fd)
