"""Carries a container's (or an exec's) streams between its connection and our stdin, stdout, stderr.

One loop over `poll`::

    stdin ──(detach keys)──▶ [outgoing buffer] ──▶ connection ──(frames unless a terminal)──▶ stdout, stderr
                                                        signals, new window sizes ──▶ other requests

The buffer is bounded: stdin is not read while the container does not read. The end of stdin is a half-close
(the container may still write); the end of the connection ends the loop. Nothing here blocks but writing
to our own stdout and stderr.
"""

from __future__ import annotations

import os
import select

from kist.api.frames import STDERR, FrameDecoder
from kist.client.transport import MSG_NOSIGNAL, SHUT_WR, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from kist.cli.terminal import DetachFilter
else:
    import _signal as signal  # the C module below `signal`, which makes enums of everything (4 ms)

BUFFER = 256 * 1024
READ = 64 * 1024
_SKIPPED = ("SIGKILL", "SIGSTOP", "SIGCHLD", "SIGCLD", "SIGPIPE", "SIGURG", "SIGSEGV", "SIGFPE", "SIGILL",
            "SIGBUS", "SIGABRT", "SIGIOT", "SIGTRAP", "SIGSYS")


class Signals:
    """Catches signals and makes them readable: `fd` gets one byte for each, its number.

    with Signals(("SIGINT", "SIGTERM")) as caught: …
    """

    __slots__ = ("_before", "_names", "_write", "fd")

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._before: dict[int, Any] = {}
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Signals:
        signal.set_wakeup_fd(self._write)
        for name in self._names:
            number = getattr(signal, name)
            self._before[number] = signal.signal(number, lambda _number, _frame: None)
        return self

    def read(self) -> set[int]:
        """The numbers of the signals since the last time."""
        try:
            return set(os.read(self.fd, 512))
        except BlockingIOError:
            return set()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self.fd)
        os.close(self._write)


def proxied_signals() -> tuple[str, ...]:
    """All that Docker's client passes on: whatever can be caught and is not about this process itself."""
    return tuple(name for name in dir(signal) if name.startswith("SIG") and name[3] not in "_R"
                 and name not in _SKIPPED)


def signal_name(number: int) -> str:
    """10 → "USR1"."""
    for name in dir(signal):
        if name.startswith("SIG") and name[3] != "_" and getattr(signal, name) == number:
            return name[3:]
    return str(number)


class Streams:
    """One attached connection. `run` returns True when the user detached, False at the stream's end."""

    def __init__(self, connection: socket, early: bytes, *, framed: bool, stdin: bool, stdout: bool = True,
                 stderr: bool = True, detach: DetachFilter | None = None) -> None:
        self._socket = connection
        self._early = early
        self._frames = FrameDecoder() if framed else None
        self._stdin = stdin
        self._targets = (1 if stdout else None, 2 if stderr else None)
        self._detach = detach
        self._outgoing = bytearray()
        self._half_closed = False

    def run(self, signals: Signals | None = None, on_signal: Callable[[int], None] | None = None) -> bool:
        """Carry until the other side ends, or the detach keys come."""
        self._socket.settimeout(0)
        self._write_out(self._early)
        poll = select.poll()
        if signals is not None:
            poll.register(signals.fd, select.POLLIN)
        while True:
            self._watch(poll)
            for fd, happened in poll.poll():
                if fd == 0:
                    self._read_stdin()
                elif signals is not None and fd == signals.fd:
                    for number in signals.read():
                        if on_signal is not None:
                            on_signal(number)
                elif self._serve(happened):
                    return False
            if self._detach is not None and self._detach.detached:
                self._flush()
                return True

    def _watch(self, poll: select.poll) -> None:
        """Ask for what we can take now."""
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._outgoing else 0))
        if self._stdin and len(self._outgoing) < BUFFER:
            poll.register(0, select.POLLIN)
        else:
            try:
                poll.unregister(0)
            except KeyError:
                pass

    def _read_stdin(self) -> None:
        try:
            data = os.read(0, READ)
        except OSError:  # a terminal that went away
            data = b""
        if not data:
            self._stdin = False
        elif self._detach is not None:
            data = self._detach.feed(data)
        self._outgoing += data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                sent = self._socket.send(self._outgoing, MSG_NOSIGNAL)
                del self._outgoing[:sent]
            if not self._stdin and not self._half_closed:
                self._half_closed = True
                self._socket.shutdown(SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:  # nobody reads any more: what was written before still comes
            self._stdin = False
            self._half_closed = True
            self._outgoing.clear()

    def _serve(self, happened: int) -> bool:
        """The connection can be read or written; True at its end."""
        if happened & select.POLLOUT:
            self._flush()
        if not happened & (select.POLLIN | select.POLLHUP | select.POLLERR):
            return False
        try:
            data = self._socket.recv(BUFFER)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        self._write_out(data)
        return not data

    def _write_out(self, data: bytes) -> None:
        if self._frames is None:
            write_all(self._targets[0], data)
            return
        for stream, piece in self._frames.feed(data):
            write_all(self._targets[1 if stream >= STDERR else 0], piece)


def write_all(fd: int | None, data: bytes | memoryview) -> None:
    """Everything to a descriptor of ours; None drops it."""
    if fd is None:
        return
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view):]
        except BlockingIOError:  # somebody made our stdout non-blocking
            select.select([], [fd], [])
