"""Waiting for a process in the foreground: its signals, and its terminal if it has one.

All signals but those about ourselves are passed on. With a terminal, ours is raw meanwhile and bytes go both
ways until the other end closes.
"""

from __future__ import annotations

import fcntl
import gc
import os
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # the same, without the enums: they take 3 ms to make

_OURS = {signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGURG, signal.SIGWINCH, signal.SIGPIPE}


class Foreground:
    """Made before the process is, so that no signal is lost."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            try:
                signal.signal(number, _noted)
            except (OSError, ValueError):
                continue

    def wait(self, pid: int, pidfd: int, console: int | None) -> int:
        """The exit status as a shell has it (128 + signal)."""
        gc.enable()  # runtime/start.py: from here on it may take days
        attributes = _raw(console)
        try:
            self._loop(pid, pidfd, console)
        finally:
            if attributes is not None:
                import termios

                termios.tcsetattr(0, termios.TCSADRAIN, attributes)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return 128 - code if code < 0 else code

    def _loop(self, pid: int, pidfd: int, console: int | None) -> None:
        sources = [self._read, pidfd]
        if console is not None:
            os.set_blocking(console, True)
            sources += [console, 0]
        while True:
            ready = select.select(sources, [], [])[0]
            if self._read in ready:
                self._pass_on(pid, console)
            if console is not None and console in ready and not _copy(console, 1):
                sources.remove(console)
            if 0 in ready and 0 in sources and not _copy(0, console or 0):
                sources.remove(0)
            if pidfd in ready:
                while console is not None and console in select.select([console], [], [], 0)[0]:
                    if not _copy(console, 1):
                        break
                return

    def _pass_on(self, pid: int, console: int | None) -> None:
        for number in os.read(self._read, 512):
            if number == signal.SIGWINCH and console is not None:
                _resize(console)
            elif number not in _OURS:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass


def _noted(_number: int, _frame: Any) -> None:
    """The wake-up descriptor has it already."""


def _raw(console: int | None) -> Any:
    if console is None:
        return None
    import termios
    import tty

    _resize(console)
    if not sys.stdin.isatty():
        return None
    attributes = termios.tcgetattr(0)
    tty.setraw(0)
    return attributes


def _resize(console: int) -> None:
    import termios

    try:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(console, termios.TIOCSWINSZ, size)
    except OSError:
        pass  # our input is no terminal


def _copy(source: int, target: int) -> bool:
    try:
        data = os.read(source, 65536)
    except OSError:  # EIO: the other end of the terminal is closed
        return False
    while data:
        data = data[os.write(target, data):]
        if not data:
            return True
    return False
