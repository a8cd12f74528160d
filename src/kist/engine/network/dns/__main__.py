"""`python -I -S …/dns/__main__.py DIRECTORY`: serve names, told what to by `DIRECTORY/dns.sock`.

Prints "ready" when that socket listens. A second one for the same directory ends at once.
"""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import socket
import sys


def main() -> int:
    sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), *[".."] * 4)))
    from kist.engine.network.dns.resolver import Resolver

    os.chdir(sys.argv[1])  # so that the socket's path is short, however long the directory's is
    lock = os.open("dns.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    try:
        os.unlink("dns.sock")
    except FileNotFoundError:
        pass
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    os.umask(0o177)
    control.bind("dns.sock")
    control.listen(4)
    resolver = Resolver(control)
    print("ready", flush=True)
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 1)
    gc.freeze()
    resolver.run()
    os.unlink("dns.sock")
    return 0


if __name__ == "__main__":
    sys.exit(main())
