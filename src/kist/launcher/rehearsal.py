"""The launcher plays a monitor's part a few times before it forks the first one.

What is written in a fork is a page that the monitor has for itself for all its life: the interpreter's caches of
attributes and its specialised instructions among it. They are written here, once, and shared by all. Half of a
monitor's private memory goes that way (and the first lines of a container's log come sooner).
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair

from kist.launcher import channel
from kist.launcher.monitor import Monitor, start
from kist.launcher.pipes import Pipes
from kist.launcher.protocol import Attach
from kist.linux.process import PR_SET_PDEATHSIG, prctl_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the same, without the enumerations

# The interpreter specialises a function at its eighth call, and its instructions some calls later.
ROUNDS = 20


def rehearse(scratch: str) -> None:
    """Use (and remove) a directory below ``scratch``; where that can't be written there is no rehearsal."""
    place = f"{scratch}/rehearsal-{os.getpid()}"
    try:
        os.mkdir(place, 0o700)
    except OSError:
        return
    try:
        for number in range(ROUNDS):
            _play(place, terminal=number % 4 == 3)
        for name in os.listdir(place):
            os.unlink(f"{place}/{name}")
    finally:
        os.rmdir(place)


def _play(place: str, *, terminal: bool) -> None:
    """One monitor's life, without a container: start, a line of output to the log and a client, silence."""
    seam, creator = socketpair(AF_UNIX, SOCK_SEQPACKET)
    sock, launcher = socketpair(AF_UNIX, SOCK_SEQPACKET)
    link, engine = socketpair(AF_UNIX, SOCK_SEQPACKET)
    listener, nobody = socketpair(AF_UNIX, SOCK_SEQPACKET)
    connection, client = socketpair()
    log = os.open(f"{place}/log", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    monitor = Monitor()
    pipes = Pipes().open(stdin=True, output=True)
    prctl_number(PR_SET_PDEATHSIG, 0)
    channel.send(launcher, {
        "n": 1, "id": "rehearsal", "bundle": place, "run_dir": place, "data_dir": place, "seccomp_cache": place,
        "log": {"driver": "json-file", "path": f"{place}/log", "max_size": 1 << 20, "max_file": 2}, "log_file": 2,
        "tty": terminal, "open_stdin": True, "stdin_once": True, "link": 0, "listener": 1, "netns": None,
        "attaches": [Attach(3, stdin=True, stdout=True, stderr=True, framed=not terminal).to_json()],
    }, [link.fileno(), listener.fileno(), log, connection.fileno(), *pipes.monitor])
    for sent in (link, listener, connection):
        sent.close()
    os.close(log)
    received = channel.receive(sock)
    assert received
    channel.send(creator, {"pid": os.getpid(), "started_at": 0.0, "cgroup": "/rehearsal"},
                 [2, pipes.stdout] if terminal else [2])  # what is read from is as good as a terminal here
    pipes.close_monitor()
    assert start(monitor, seam, *received)
    os.write(pipes.child[1], b"a line\n")
    os.kill(os.getpid(), signal.SIGCHLD)
    monitor.turn()
    channel.send(engine, {"n": 2, "do": "resize", "exec": None, "height": 0, "width": 0})
    monitor.turn()
    monitor.abandon()
    for end in (creator, sock, launcher, engine, nobody, client):
        end.close()
    pipes.close_child()
