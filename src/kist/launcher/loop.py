"""The monitor's event loop: descriptors, timers and children, over epoll, in one thread.

A handler is called with the epoll events of its descriptor. Events are hints: within one round an earlier handler
may have closed a descriptor and another got its number, so handlers read and write without blocking and believe
only what the call says.
"""

from __future__ import annotations

import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal  # the same, without the enumerations

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR  # always reported, asked for or not


class Loop:
    """``watch`` descriptors, ``after`` seconds, ``child`` exits; ``run`` until ``stop``."""

    __slots__ = ("_children", "_epoll", "_expecting", "_handlers", "_reap", "_running", "_strangers", "_timers",
                 "_wake_read", "_wake_write")

    if TYPE_CHECKING:
        _epoll: select.epoll  # from ``open`` on

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._timers: dict[object, tuple[float, Callable[[], None]]] = {}
        self._children: dict[int, Callable[[int], None]] = {}
        self._strangers: dict[int, int] = {}
        self._expecting = 0
        self._running = True
        self._reap = self._take_ended  # before the fork, see server.py
        self._wake_read = self._wake_write = -1

    def open(self) -> None:
        """What a process must have for itself: call it after the fork."""
        self._epoll = select.epoll()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self.watch(self._wake_read, READ, self._reap)

    def watch(self, fd: int, events: int, handler: Callable[[int], object]) -> None:
        """Call ``handler(events)`` from now on; changes what an already watched descriptor waits for."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Stop watching (before the descriptor is closed); no error if it was not watched."""
        if self._handlers.pop(fd, None):
            self._epoll.unregister(fd)

    def after(self, key: object, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` once, later; one timer per key, a new one replaces it."""
        self._timers[key] = (time.monotonic() + seconds, action)

    def cancel(self, key: object) -> None:
        self._timers.pop(key, None)

    def child(self, pid: int, handler: Callable[[int], None]) -> None:
        """Call ``handler(wait status)`` when the child has ended."""
        if pid in self._strangers:
            status = self._strangers.pop(pid)
            self.after(handler, 0, lambda: handler(status))
        else:
            self._children[pid] = handler

    def expect(self, more: int) -> None:
        """Children whose pids aren't known yet are on their way (+1) or known now (-1): one may have ended
        before ``child`` is called."""
        self._expecting += more
        if not self._expecting:
            self._strangers.clear()

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        self._running = True
        while self._running:
            for fd, events in self._epoll.poll(self._timeout()):
                handler = self._handlers.get(fd)
                if handler:
                    try:
                        handler(events)
                    except Exception:
                        self._failed(fd)
            if self._timers:
                self._fire()

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def leave(self) -> None:
        """In a fork: the parent's loop is none of ours (its end of a child must not wake it)."""
        signal.set_wakeup_fd(-1)

    def _timeout(self) -> float:
        if not self._timers:
            return -1
        return max(0.0, min(when for when, _ in self._timers.values()) - time.monotonic())

    def _fire(self) -> None:
        now = time.monotonic()
        for key in [key for key, (when, _) in self._timers.items() if when <= now]:
            timer = self._timers.pop(key, None)
            if timer:
                timer[1]()

    def _failed(self, fd: int) -> None:
        """A fault of ours: say it, and give up that descriptor alone; the container must not lose its monitor."""
        sys.excepthook(*sys.exc_info())
        if fd != self._wake_read:
            self.forget(fd)

    def _take_ended(self, _events: int) -> None:
        """Take every ended child: ours, and the orphans that the kernel gave to us, the subreaper."""
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            handler = self._children.pop(pid, None)
            if handler:
                handler(status)
            elif self._expecting:
                self._strangers[pid] = status


def prepare() -> None:
    """Once per process (forks inherit it): let the end of a child wake the loop."""
    signal.signal(signal.SIGCHLD, _nothing)


def _nothing(_number: int, _frame: object) -> None:
    """A handler in Python, so that the signal writes to the wake-up descriptor (SIG_DFL would not)."""
