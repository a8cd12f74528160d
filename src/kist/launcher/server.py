"""The fork server: keeps an idle monitor in stock, so that a start finds one waiting.

    engine ──SEQPACKET──┬── creator ── monitor   the creator waits in recvmsg for a start request, all idle ones on
                        │                        the same socket; its parent, the monitor, waits for the creator
                        └── launcher             sees (by a pipe's end) that a pair has left, and forks the next

The launcher itself is never on a start's path. When the engine's end closes, the launcher and the idle ones leave;
monitors with a container live on. When the launcher dies, the idle ones die with it (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import gc
import os
import select
import sys
import time
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair

# By their own names: to look up a module's attribute for the first time costs the process three pages of memory. (The
# same is true of a method that is made a handler: the monitor's objects make theirs before the fork.)
from os import close, fork, getppid, setsid

from kist.launcher import channel, loop
from kist.launcher.memory import fill_heap, fill_holes
from kist.launcher.monitor import Monitor, supervise
from kist.launcher.protocol import ProtocolError
from kist.launcher.rehearsal import ROUNDS, rehearse
from kist.linux.process import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from signal import SIGKILL, set_wakeup_fd
else:
    import _signal as signal  # the same, without the enumerations
    from _signal import SIGKILL, set_wakeup_fd

# One is enough for 20 starts at once, too: a fork takes half a millisecond, and each more keeps 0.4 MB.
STOCK = 1

# Milliseconds that the processor is left to a start that has just begun, before the stock is filled again: a fork and
# what comes after it would take a core from it for two of them. Nobody waits longer than for the fork: another request
# ends it at once.
PATIENCE = 10

# Seconds after the failure of a monitor, so that one which can't even wait costs no processor.
PAUSE = 0.1

# A monitor outlives whoever would send it one of these; it ends when its container does. The launcher ends when its
# engine does. (runtime gives the container's process the default actions again.)
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
            signal.SIGALRM, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE)


def serve(sock: socket, scratch: str, stock: int = STOCK) -> None:
    """Keep the stock full until the engine's end of ``sock`` closes. ``scratch``: a directory for the rehearsal."""
    for _ in range(ROUNDS):  # so often that the monitors find it specialised
        _set_name(b"kist-launcher")
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    loop.prepare()
    rehearse(scratch)
    monitor = Monitor()
    _load_the_rest()
    gc.collect()
    fill_holes()
    fill_heap()
    gc.disable()
    gc.freeze()
    _keep_stock(sock, stock, monitor)


def _load_the_rest() -> None:
    """What creators need. Not before: what all monitors touch must lie close together, for whole pages are copied."""
    import kist.launcher.creator  # noqa: F401
    from kist.launcher import practice
    from kist.runtime.cgroup import open_path

    open_path("/")  # imports what this machine's cgroups need
    for _ in range(practice.ROUNDS):
        practice.play()


def _keep_stock(sock: socket, stock: int, monitor: Monitor) -> None:
    """Fork when one has left, reap when one has ended.

    As little as possible happens here between two forks: each page that the launcher writes then is one that the
    monitor forked before no longer shares.
    """
    ended, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    launcher = os.getpid()
    waiting: set[int] = set()  # for each idle monitor, what hangs up when it leaves
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(sock, 0)  # the end only
    request = select.poll()
    request.register(sock, select.POLLIN)
    begun = False
    while stock or waiting:
        while len(waiting) < stock:
            if begun:
                request.poll(PATIENCE)
                begun = False
            left, here = os.pipe2(os.O_CLOEXEC)
            if os.fork() == 0:
                _become_monitor(monitor, sock, here, (left, ended, wake, *waiting), launcher)
            os.close(here)
            waiting.add(left)
            poll.register(left, 0)
        for fd, _events in poll.poll():
            if fd == ended:
                _reap(ended)
                continue
            poll.unregister(fd)
            if fd in waiting:
                waiting.remove(fd)
                os.close(fd)
                begun = True
            else:
                # The engine has gone. The idle ones leave by themselves; one that has just got a request must not
                # be killed by our end before it has said that it doesn't depend on us any more.
                stock = 0


def _reap(ended: int) -> None:
    os.read(ended, 4096)
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if status:  # it failed (no more processes, no memory): its successor may, too
                time.sleep(PAUSE)
    except ChildProcessError:
        pass


def _become_monitor(monitor: Monitor, sock: socket, here: int, others: tuple[int, ...], launcher: int) -> None:
    """Never returns."""
    status = 1
    try:
        set_wakeup_fd(-1)
        for fd in others:
            close(fd)
        _idle(monitor, sock, here, launcher)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _idle(monitor: Monitor, sock: socket, here: int, launcher: int) -> None:
    """Wait for one request, with a creator at our side, or leave with the engine."""
    _set_name(b"kist-monitor")
    setsid()
    prctl_number(PR_SET_CHILD_SUBREAPER, 1)
    prctl_number(PR_SET_PDEATHSIG, SIGKILL)
    if getppid() != launcher:
        return
    seam, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    if fork() == 0:
        close(here)
        seam.close()
        _become_creator(sock, theirs)
    theirs.close()
    sock.close()
    received = channel.receive(seam)
    if received:
        prctl_number(PR_SET_PDEATHSIG, 0)
        close(here)
        supervise(monitor, seam, *received)


def _become_creator(sock: socket, seam: socket) -> None:
    """Never returns."""
    from kist.launcher.creator import wait_for_request  # loaded long since; not the monitor's business

    try:
        _set_name(b"kist-creator")
        prctl_number(PR_SET_PDEATHSIG, SIGKILL)
        wait_for_request(sock, seam)
    except ProtocolError as error:
        print(f"kist-launcher: {error}", file=sys.stderr, flush=True)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(0)


def _set_name(name: bytes) -> None:
    """The thread's name as ps shows it; a file costs a monitor less memory than prctl(2) by ctypes."""
    fd = os.open("/proc/self/comm", os.O_WRONLY)
    os.write(fd, name)
    os.close(fd)
