"""The first process of a container, from its birth to execve(2), in one narrative.

It runs in a fresh fork of the creator, in its new namespaces. Whatever goes wrong is said to the creator, with
the name of the step; then the process ends, and all that it had mounted with it.
"""

from __future__ import annotations

import _socket as socket
import os
import sys

from kist.linux import process as p
from kist.runtime import wire
from kist.runtime.errors import RuntimeFailure, StepError, step_error
from kist.runtime.process import keeps_groups
from kist.runtime.program import execute, find
from kist.runtime.step import Context, Step
from kist.runtime.streams import standard_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any

    from kist.runtime.namespaces import Namespaces
    from kist.runtime.plan import Plan
else:
    import _signal as signal  # the same, without the enums: they take 3 ms to make


class Init:
    """What init is given."""

    __slots__ = ("barrier", "container_hooks", "context", "hooks", "join", "namespaces", "own_cgroup", "plan",
                 "preserve_fds", "sibling", "start_hooks", "sync")

    def __init__(self, sync: socket.socket, plan: Plan, namespaces: Namespaces, context: Context) -> None:
        self.sync = sync
        self.plan = plan
        self.namespaces = namespaces
        self.context = context
        self.own_cgroup = True                      # join it myself (version 1, or a stage was needed)
        self.join = True                            # namespaces to join (not if a stage did)
        self.hooks = False                          # the creator has hooks to run before the pivot
        self.container_hooks: Any = None            # callable: createContainer hooks
        self.start_hooks: Any = None                # callable: startContainer hooks
        self.barrier: socket.socket | None = None   # a listening socket to wait at instead of ``sync``
        self.preserve_fds = 0
        self.sibling = False                        # a child of the creator's parent: dies with it


def main(init: Init) -> None:
    """Never returns."""
    try:
        _main(init)
    except RuntimeFailure as error:
        wire.send_error(init.sync, error)
    except OSError as error:
        wire.send_error(init.sync, step_error("prepare the process", error))
    except BaseException as error:
        wire.send_error(init.sync, StepError(f"{type(error).__name__}: {error}"))
    finally:
        os._exit(1)


def _main(init: Init) -> None:
    ctx, plan = init.context, init.plan
    trust_no_files()
    p.prctl(p.PR_SET_DUMPABLE, 0)  # /proc/PID of this process is root's on the host, not the container's
    default_signals()
    os.umask(0)
    os.setsid()
    if init.own_cgroup:
        _named("join the control group", ctx.cgroup.join_self)
    if init.join:
        _named("join the namespaces", init.namespaces.join)
    if init.namespaces.new_user:
        _await_maps(init)
    run(plan.root, ctx)  # still as the creator's user, who can go where the root is
    if init.namespaces.in_user:
        _become_root(keep_groups=keeps_groups(ctx.spec))
    run(plan.setup, ctx)
    if ctx.console >= 0:
        wire.send(init.sync, b"C", fd=ctx.console)
        os.close(ctx.console)
    if init.hooks:
        wire.send(init.sync, b"H")
        wire.expect(init.sync, b"h")
    if init.container_hooks is not None:
        init.container_hooks()
    run(plan.pivot, ctx)
    standard_streams(ctx)
    if init.start_hooks is not None:
        init = _wait(init)
        init.start_hooks()
        _become_user(init)
    else:
        _become_user(init)
        init = _wait(init)
    run(plan.last, ctx)
    _hand_over_listener(init)
    execute(ctx.program, ctx.process)


def _await_maps(init: Init) -> None:
    """A plain user may write them only for a process that isn't root's to look at; nobody else is in here yet."""
    if not init.context.from_outside:
        p.prctl(p.PR_SET_DUMPABLE, 1)
    wire.send(init.sync, b"U")
    wire.expect(init.sync, b"u")
    p.prctl(p.PR_SET_DUMPABLE, 0)


def run(steps: list[Step], ctx: Context) -> None:
    for step in steps:
        try:
            step.run(ctx)
        except OSError as error:
            raise step_error(step.describe(), error) from None


def trust_no_files() -> None:
    """Soon paths lead into the container, where an import would run what an image has put there. Modules that are
    loaded, or built into the interpreter, stay within reach."""
    sys.meta_path[:] = [finder for finder in sys.meta_path
                        if getattr(finder, "__name__", "") in ("BuiltinImporter", "FrozenImporter")]


def _become_user(init: Init) -> None:
    """The program is looked for as the user, who may not see what root sees."""
    ctx = init.context
    p.close_range(3 + init.preserve_fds, flags=p.CLOSE_RANGE_CLOEXEC)
    run(init.plan.process, ctx)
    if init.sibling:
        p.prctl(p.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which would undo it
    if ctx.listener >= 0:
        _hand_over_listener(init)
    ctx.program = find(ctx.process)


def _wait(init: Init) -> Init:
    """The barrier. At a listening socket: whoever connects says go, and hears of a failure to execute."""
    wire.send(init.sync, b"R")
    if init.barrier is None:
        wire.expect(init.sync, b"g")
        return init
    init.sync.close()
    init.sync = socket.socket(fileno=init.barrier._accept()[0])  # type: ignore[attr-defined]
    init.barrier.close()
    wire.expect(init.sync, b"g")
    return init


def _hand_over_listener(init: Init) -> None:
    ctx = init.context
    if ctx.listener >= 0:
        wire.send(init.sync, b"N", fd=ctx.listener)
        wire.expect(init.sync, b"n")
        os.close(ctx.listener)
        ctx.listener = -1


def _become_root(*, keep_groups: bool) -> None:
    """The user namespace's."""
    try:
        if not keep_groups:
            os.setgroups([])
    except PermissionError:
        pass  # "deny" was written to /proc/PID/setgroups
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    p.prctl(p.PR_SET_DUMPABLE, 0)


def _named(what: str, action: Any) -> None:
    try:
        action()
    except OSError as error:
        raise step_error(what, error) from None


def default_signals() -> None:
    """What the creator ignores or blocks is none of the program's business. Handlers end with execve(2)."""
    for number in range(1, signal.NSIG):
        try:
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            continue
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
