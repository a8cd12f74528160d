"""The container's end of the input: a pipe, or the terminal."""

from __future__ import annotations

import fcntl
import os
from itertools import islice

from kist.launcher.loop import WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from kist.launcher.loop import Loop
else:
    from _collections import deque  # collections brings a megabyte along

HIGH, LOW = 256 * 1024, 64 * 1024
PIPE_SIZE = 1024 * 1024
_VECTOR = 64
_SPLICE_NONBLOCK = 2


class Stdin:
    """Owns the descriptor. While it is full the clients aren't read (``changed`` tells when that turns)."""

    __slots__ = ("_changed", "_closing", "_fd", "_full", "_loop", "_queue", "_queued", "_roomy", "_terminal")

    def __init__(self, loop: Loop, fd: int, *, terminal: bool, changed: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._terminal = terminal
        self._changed = changed
        self._queue: deque[bytes | memoryview] = deque()
        self._queued = 0
        self._full = False
        self._closing = False
        self._roomy = False

    @property
    def open(self) -> bool:
        """It takes input at some time (the container has not closed it, nor did we)."""
        return self._fd >= 0 and not self._closing

    @property
    def full(self) -> bool:
        return self._full

    @property
    def splices(self) -> bool:
        """Nothing waits here, so bytes may go from a socket to the pipe inside of the kernel."""
        return not self._queue and not self._terminal and self.open

    def splice_from(self, sock: int) -> int:
        """Move what a socket has; gives the count, 0 at its end. Raises BlockingIOError when nothing moved."""
        try:
            count = os.splice(sock, self._fd, PIPE_SIZE, flags=_SPLICE_NONBLOCK)
        except BlockingIOError:
            # Either the socket is empty or the pipe is full. Wait for the pipe first: an empty socket costs one
            # turn, a full pipe would cost a busy loop.
            self._enlarge()
            self._wait()
            raise
        except BrokenPipeError:
            self.close()
            raise BlockingIOError from None
        return count

    def write(self, data: bytes) -> None:
        """Pass on input, now or later; never blocks."""
        if not self.open:
            return
        if not self._queue:
            sent = self._push([data])
            if sent < 0 or sent == len(data):
                return
            self._enlarge()
            self._queue.append(memoryview(data)[sent:])
            self._queued = len(data) - sent
            self._loop.watch(self._fd, WRITE, self._ready)
        else:
            self._queue.append(data)
            self._queued += len(data)
        if self._queued > HIGH:
            self._full = True
            self._changed()

    def close_when_drained(self) -> None:
        """The input is complete. A terminal has no end of input: it stays open (as in Docker)."""
        if self._terminal or self._closing:
            return
        self._closing = True
        if not self._queue:
            self.close()

    def close(self) -> None:
        if self._fd < 0:
            return
        self._loop.forget(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._queue.clear()
        self._queued = 0
        self._full = False
        self._changed()

    def _wait(self) -> None:
        self._full = True
        self._loop.watch(self._fd, WRITE, self._ready)
        self._changed()

    def _push(self, parts: list[bytes | memoryview]) -> int:
        """Write what fits; -1 if the container's end is closed."""
        try:
            return os.writev(self._fd, parts)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return -1

    def _ready(self, _events: int) -> None:
        while self._queue:
            batch = list(islice(self._queue, _VECTOR))
            size = sum(map(len, batch))
            sent = self._push(batch)
            if sent < 0:
                return
            self._queued -= sent
            left = sent
            while left or (self._queue and not self._queue[0]):
                first = self._queue.popleft()
                if left < len(first):
                    self._queue.appendleft(memoryview(first)[left:])
                    break
                left -= len(first)
            if sent < size:
                break
        if not self._queue:
            self._loop.forget(self._fd)
            if self._closing:
                self.close()
                return
        if self._full and self._queued <= LOW:
            self._full = False
            self._changed()

    def _enlarge(self) -> None:
        if not self._roomy and not self._terminal:
            self._roomy = True
            try:
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
            except OSError:  # the user's share of pipe memory is used up
                pass
