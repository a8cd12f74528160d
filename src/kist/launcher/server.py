"""The fork server: keeps a stock of idle monitors, so that a start finds one waiting.

    engine ──SEQPACKET──┬── idle monitor    all of them wait in recvmsg on the same socket;
                        ├── idle monitor    the kernel wakes one per start request
                        └── launcher        sees (by a pipe's end) that one has left, and forks the next

The launcher itself is never on a start's path. When the engine's end closes, the launcher and the idle monitors
leave; those with a container live on. When the launcher dies, the idle ones die with it (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys

from kist.launcher import channel
from kist.launcher.monitor import supervise
from kist.launcher.protocol import ProtocolError
from kist.linux.process import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl, set_name

STOCK = 3

# A monitor outlives whoever would send it one of these; it ends when its container does.
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
            signal.SIGALRM, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE)


def serve(sock: socket.socket, stock: int = STOCK) -> None:
    """Keep the stock full until the engine's end of ``sock`` closes."""
    set_name("kist-launcher")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps monitors
    gc.collect()
    gc.disable()
    gc.freeze()
    poll = select.poll()
    poll.register(sock, 0)  # hang-up only: the messages are for the monitors
    waiting: set[int] = set()
    while True:
        while len(waiting) < stock:
            left = _fork_monitor(sock, waiting)
            waiting.add(left)
            poll.register(left, 0)
        for fd, _events in poll.poll():
            if fd == sock.fileno():
                return
            poll.unregister(fd)
            waiting.remove(fd)
            os.close(fd)


def _fork_monitor(sock: socket.socket, others: set[int]) -> int:
    """Fork an idle monitor; gives the descriptor that hangs up when it leaves the stock (or dies)."""
    launcher = os.getpid()
    left, here = os.pipe2(os.O_CLOEXEC)
    if os.fork():
        os.close(here)
        return left
    status = 1
    try:
        for fd in (left, *others):
            os.close(fd)
        _wait_for_job(sock, here, launcher)
        status = 0
    except BaseException:  # nothing may return into the launcher's loop
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _wait_for_job(sock: socket.socket, here: int, launcher: int) -> None:
    set_name("kist-monitor")
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != launcher:
        return
    try:
        received = channel.receive(sock)
    except ProtocolError as error:
        print(f"kist-monitor: {error}", file=sys.stderr, flush=True)
        return
    if not received:
        return
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    prctl(PR_SET_PDEATHSIG, 0)
    sock.close()
    os.close(here)
    supervise(*received)
