"""Create a container: a process in its namespaces and control groups, at the barrier before execve(2).

    create ─ plan ─ control group ─ clone3 ─▶ init: the plan's steps …… barrier
       ▲                                          │
       └──────────── ready, or the failed step ◀──┘

The caller has one thread. Whatever fails: the process is dead and reaped, the control group gone.
"""

from __future__ import annotations

import _socket as socket
import os
import select

from kist.linux import namespaces as ns
from kist.linux import process as p
from kist.linux.pidfd import pidfd_send_signal
from kist.runtime import cgroup as cgroups
from kist.runtime import wire
from kist.runtime.devices import cgroup_rules
from kist.runtime.errors import ExecError, RuntimeFailure, StepError, step_error
from kist.runtime.init import Init, trust_no_files
from kist.runtime.init import main as init_main
from kist.runtime.namespaces import Namespaces, NewTime
from kist.runtime.plan import plan
from kist.runtime.step import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any

    from kist.runtime.cgroup.base import Cgroup
else:
    import _signal as signal  # the same, without the enums: they take 3 ms to make


class Stdio:
    """The descriptors that the process gets as 0, 1, 2. The caller keeps (and closes) its own."""

    __slots__ = ("stderr", "stdin", "stdout")

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


class Created:
    """A container whose process waits at the barrier. ``console`` is the terminal's master, or None."""

    __slots__ = ("cgroup", "console", "listener", "pid", "pidfd", "sync")

    def __init__(self, pid: int, pidfd: int, cgroup: Cgroup, sync: socket.socket) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.cgroup = cgroup
        self.sync = sync
        self.console: int | None = None
        self.listener: int | None = None

    def start(self) -> None:
        """Let it go on; returns once execve(2) succeeded. ExecError (then it is reaped, its group gone) else."""
        try:
            wire.send(self.sync, b"g")
            _follow(self)
        except BaseException:
            self.abort()
            raise
        self.sync.close()

    def abort(self) -> None:
        """Kill, reap, remove."""
        try:
            pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:  # a sibling: its parent reaps it
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            poll.poll(5000)
        self.destroy()
        self.sync.close()
        for fd in (self.console, self.listener, self.pidfd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self.console, self.listener, self.pidfd = None, None, -1

    def destroy(self) -> None:
        """After init was reaped: kill what is left in the control group, remove it."""
        if not self.cgroup.exists():
            return
        self.cgroup.kill_all()
        self.cgroup.remove()


def create(spec: dict[str, Any], *, container_id: str, bundle: str, stdio: Stdio | None,
           netns_fd: int | None = None, seccomp: bytes | None = None, cgroup: Cgroup | None = None,
           barrier: socket.socket | None = None, sibling: bool = False, preserve_fds: int = 0, no_pivot: bool = False,
           born: Callable[[int], None] | None = None, before_pivot: Callable[[int], None] | None = None,
           container_hooks: Callable[[], None] | None = None,
           start_hooks: Callable[[], None] | None = None) -> Created:
    """``spec`` is the OCI runtime configuration. StepError, SpecError or ExecError (program not found).

    ``seccomp`` is the compiled ``linux.seccomp``; without it the section is compiled here. ``barrier`` (a
    listening SOCK_SEQPACKET socket) makes init wait there, so that another process may start it. ``born`` is called
    with init's pid while init sets itself up: work that can be done meanwhile. ``before_pivot``
    is called here with init's pid, ``container_hooks`` (before the pivot) and ``start_hooks`` by init.
    """
    process = spec.get("process") or {}
    terminal = bool(process.get("terminal"))
    namespaces = Namespaces(spec.get("linux") or {}, netns_fd)
    todo = plan(spec, namespaces, container_id=container_id, bundle=bundle, terminal=terminal, no_pivot=no_pivot)
    context = Context(spec, process, bundle)
    context.seccomp = seccomp if seccomp is not None else _compile(spec)
    context.cgroup = cgroup or cgroups.open_cgroup(spec, container_id)
    context.from_outside = namespaces.in_user and os.geteuid() == 0  # a plain user may mount only in there
    if stdio is not None and not terminal:
        context.stdio = (stdio.stdin, stdio.stdout, stdio.stderr)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    init = Init(theirs, todo, namespaces, context)
    init.hooks, init.container_hooks, init.start_hooks = before_pivot is not None, container_hooks, start_hooks
    init.barrier, init.preserve_fds, init.sibling = barrier, preserve_fds, sibling
    resources = (spec.get("linux") or {}).get("resources") or {}
    created = _launch(init, ours, {**resources, "devices": cgroup_rules(resources)})
    try:
        if born is not None:
            born(created.pid)
        _follow(created, namespaces, before_pivot)
        context.cgroup.settled()
    except BaseException:
        created.abort()
        raise
    return created


def _compile(spec: dict[str, Any]) -> bytes | None:
    section = (spec.get("linux") or {}).get("seccomp")
    if not section:
        return None
    from kist.runtime.seccomp import compile

    return compile(section)


def _launch(init: Init, ours: socket.socket, resources: dict[str, Any]) -> Created:
    """The control group with its limits first, then the process."""
    group = init.context.cgroup
    try:
        _make(group)
        group.apply(resources)
        init.namespaces.open()
        _prepare(init)
        pid, pidfd = _fork(init, ours)
    except BaseException as error:
        ours.close()
        group.remove()
        if isinstance(error, OSError):
            raise step_error("create the process", error) from None
        raise
    finally:
        init.sync.close()
        init.namespaces.close()
        for fd in init.context.sources.values():
            os.close(fd)
    return Created(pid, pidfd, group, ours)


def _make(group: Cgroup) -> None:
    try:
        group.create()
    except OSError as error:
        raise step_error(f"make the control group {group.path}", error) from None


def _prepare(init: Init) -> None:
    for step in [*init.plan.root, *init.plan.setup]:
        try:
            step.prepare(init.context)
        except OSError as error:
            raise step_error(step.describe(), error) from None


def _fork(init: Init, ours: socket.socket) -> tuple[int, int]:
    group_fd = init.context.cgroup.clone_fd()
    time = NewTime(init.namespaces.offsets) if init.namespaces.new & ns.CLONE_NEWTIME else None
    flags = init.namespaces.new & ~ns.CLONE_NEWTIME
    try:
        if init.namespaces.staged():
            return _stage(init, ours, flags, group_fd)
        init.own_cgroup = group_fd is None
        if init.sibling:
            pid, pidfd = ns.clone3(flags | ns.CLONE_PARENT, cgroup_fd=group_fd, exit_signal=0)
        else:
            pid, pidfd = ns.clone3(flags, cgroup_fd=group_fd)
        if pid == 0:
            ours.close()
            init_main(init)
        return pid, pidfd
    finally:
        if time is not None:
            time.restore()
        if group_fd is not None:
            os.close(group_fd)


def _stage(init: Init, ours: socket.socket, flags: int, group_fd: int | None) -> tuple[int, int]:
    """See `runtime.namespaces`: a process that joins, clones init as a child of ours, and ends."""
    stage = os.fork()
    if stage == 0:
        _stage_main(init, ours, flags, group_fd)
    _pid, status = os.waitpid(stage, 0)
    tag, payload, pidfd = wire.receive(ours)
    if tag == b"E":
        raise wire.error_of(payload)
    if tag != b"P" or pidfd is None:
        raise StepError(f"join the namespaces: the stage ended with status {status}")
    return int.from_bytes(payload, "little"), pidfd


def _stage_main(init: Init, ours: socket.socket, flags: int, group_fd: int | None) -> None:
    try:
        trust_no_files()
        ours.close()
        if group_fd is None:
            init.context.cgroup.join_self()
        init.own_cgroup = init.join = init.sibling = False
        init.namespaces.join()
        pid, pidfd = ns.clone3(flags | ns.CLONE_PARENT, cgroup_fd=group_fd, exit_signal=0)
        if pid == 0:
            init_main(init)
        wire.send(init.sync, b"P", pid.to_bytes(4, "little"), pidfd)
        os._exit(0)
    except OSError as error:
        wire.send_error(init.sync, step_error("join the namespaces", error))
    except BaseException as error:
        wire.send_error(init.sync, StepError(f"join the namespaces: {error}"))
    finally:
        os._exit(1)


def _follow(created: Created, namespaces: Namespaces | None = None,
            before_pivot: Callable[[int], None] | None = None) -> None:
    """Answer init until it is ready (or, after ``g``, until it has become the program)."""
    sync = created.sync
    while True:
        tag, payload, fd = wire.receive(sync)
        if tag == b"C":
            created.console = fd
        elif tag == b"U" and namespaces is not None and namespaces.user_maps is not None:
            from kist.runtime.usermaps import write_maps

            write_maps(created.pid, *namespaces.user_maps)
            wire.send(sync, b"u")
        elif tag == b"H" and before_pivot is not None:
            before_pivot(created.pid)
            wire.send(sync, b"h")
        elif tag == b"N":
            created.listener = fd
            wire.send(sync, b"n")
        elif tag == b"R":
            return
        elif tag == b"E":
            raise wire.error_of(payload)
        elif tag == b"":
            _gone(created)
            return
        else:
            raise StepError(f"the init process said {tag!r}, which was not expected")


def _gone(created: Created) -> None:
    """The stream's end: the program runs, or init was killed before it could say anything."""
    poll = select.poll()
    poll.register(created.pidfd, select.POLLIN)
    if poll.poll(0) and not p.executed(created.pid):
        raise StepError("the init process was killed (out of memory?)")


__all__ = ["Created", "ExecError", "RuntimeFailure", "Stdio", "StepError", "create"]
