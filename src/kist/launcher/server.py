"""The fork server: keeps a stock of idle monitors, so that a start finds one waiting.

    engine ──SEQPACKET──┬── creator ── monitor    all creators wait in recvmsg on the same socket;
                        ├── creator ── monitor    the kernel wakes one per start request
                        └── launcher              sees (by a pipe's end) that one has left, and forks the next

The launcher itself is never on a start's path. When the engine's end closes, the launcher and the idle ones leave;
monitors with a container live on. When the launcher dies, the idle ones die with it (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair

from kist.launcher import channel, loop
from kist.launcher.creator import create_container
from kist.launcher.loop import Loop
from kist.launcher.monitor import supervise
from kist.launcher.protocol import ProtocolError
from kist.linux.process import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl
from kist.runtime.cgroup import open_path

STOCK = 3

# A monitor outlives whoever would send it one of these; it ends when its container does. The launcher ends when its
# engine does. (runtime gives the container's process the default actions again.)
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
            signal.SIGALRM, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE)


def serve(sock: socket, stock: int = STOCK) -> None:
    """Keep the stock full until the engine's end of ``sock`` closes."""
    _set_name("kist-launcher")
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    loop.prepare()
    open_path("/")  # imports what this machine's cgroups need, for all forks
    gc.collect()
    gc.disable()
    gc.freeze()
    Server(sock, stock).run()


class Server:
    """The stock: for each idle monitor the descriptor that hangs up when it leaves."""

    __slots__ = ("_ending", "_loop", "_sock", "_stock", "_waiting")

    def __init__(self, sock: socket, stock: int) -> None:
        self._loop = Loop()
        self._sock = sock
        self._stock = stock
        self._waiting: set[int] = set()
        self._ending = False

    def run(self) -> None:
        self._loop.watch(self._sock.fileno(), 0, lambda _events: self._end())
        self._fill()
        self._loop.run()

    def _fill(self) -> None:
        while len(self._waiting) < self._stock and not self._ending:
            fd = self._fork()
            self._waiting.add(fd)
            self._loop.watch(fd, 0, lambda _events, fd=fd: self._left(fd))  # type: ignore[misc]

    def _left(self, fd: int) -> None:
        """One has got a request (or died)."""
        self._loop.forget(fd)
        self._waiting.remove(fd)
        os.close(fd)
        self._fill()
        if self._ending and not self._waiting:
            self._loop.stop()

    def _end(self) -> None:
        """The engine has gone. The idle ones leave by themselves; one that has just got a request must not be
        killed by our end before it has said that it no longer depends on us (``here``, in ``_idle``)."""
        self._loop.forget(self._sock.fileno())
        self._ending = True
        if not self._waiting:
            self._loop.stop()

    def _fork(self) -> int:
        """Fork an idle monitor; gives the descriptor that hangs up when it leaves the stock."""
        launcher = os.getpid()
        left, here = os.pipe2(os.O_CLOEXEC)
        if os.fork():
            os.close(here)
            return left
        status = 1
        try:
            self._loop.close()
            for fd in (left, *self._waiting):
                os.close(fd)
            _idle(self._sock, here, launcher)
            status = 0
        except BaseException:  # nothing may return into the launcher's loop
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)


def _idle(sock: socket, here: int, launcher: int) -> None:
    """The monitor: make its creator, and wait for what that brings."""
    _set_name("kist-monitor")
    os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != launcher:
        return
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    monitor = os.getpid()
    if os.fork() == 0:
        ours.close()
        _wait_for_job(sock, here, theirs, monitor)
        os._exit(0)
    theirs.close()
    sock.close()
    supervise(ours, here)


def _wait_for_job(sock: socket, here: int, seam: socket, monitor: int) -> None:
    """The creator: take one request, or leave with the engine."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != monitor:
        return
    try:
        received = channel.receive(sock)
    except ProtocolError as error:
        print(f"kist-launcher: {error}", file=sys.stderr, flush=True)
        return
    sock.close()
    os.close(here)
    if received:
        create_container(*received, seam)


def _set_name(name: str) -> None:
    """The thread's name as ps shows it; a file costs a monitor less memory than prctl(2) by ctypes."""
    fd = os.open("/proc/self/comm", os.O_WRONLY)
    os.write(fd, name.encode())
    os.close(fd)
