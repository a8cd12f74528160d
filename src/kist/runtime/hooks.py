"""Hooks: programs of the user at points of the life cycle (runtime-spec 1.2, config.md#posix-platform-hooks).

Each gets the container's state as JSON on its standard input, exactly the environment it names, and as long as
its timeout says.
"""

from __future__ import annotations

import errno
import os
import select

from kist.linux.pidfd import pidfd_open, pidfd_send_signal
from kist.runtime import jsons
from kist.runtime.errors import StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # the same, without the enums: they take 3 ms to make


def run_all(kind: str, hooks: list[dict[str, Any]], state: dict[str, Any]) -> None:
    """In order; StepError at the first that fails."""
    for index, hook in enumerate(hooks):
        run(f"{kind} hook #{index} {hook['path']}", hook, state)


def run(what: str, hook: dict[str, Any], state: dict[str, Any]) -> None:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _exec(hook, read_end)
    os.close(read_end)
    try:
        _feed(write_end, jsons.dumps(state).encode())
        _wait(what, pid, hook.get("timeout"))
    except BaseException:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        raise


def _exec(hook: dict[str, Any], stdin: int) -> None:
    """Never returns. 127 and 126 as a shell has them."""
    try:
        os.dup2(stdin, 0)
        os.closerange(3, 1024)
        pairs = (entry.partition("=") for entry in hook.get("env") or [])
        os.execve(hook["path"], hook.get("args") or [hook["path"]], {name: value for name, _, value in pairs})
    except FileNotFoundError:
        os._exit(127)
    except BaseException:
        os._exit(126)


def _feed(fd: int, data: bytes) -> None:
    """A state is far smaller than a pipe; a hook that reads nothing is none of our business."""
    try:
        os.write(fd, data)
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
    finally:
        os.close(fd)


def _wait(what: str, pid: int, timeout: int | None) -> None:
    pidfd = pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(timeout * 1000 if timeout else None):
            pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise StepError(f"run {what}: it did not end within {timeout} s", errno.ETIMEDOUT)
    finally:
        os.close(pidfd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        words = {127: "no such file or directory", 126: "it can't be executed"}.get(code, f"exit status {code}")
        raise StepError(f"run {what}: {words}")
