"""ioctl(2) SIOCOUTQ, unix(7): whether the other end of a socket has read what was sent."""

from __future__ import annotations

import fcntl
import termios


def has_unread(fd: int) -> bool:
    """Whether a unix socket's peer has bytes of ours to read; False for what is no socket, or a closed one."""
    try:
        return any(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))
    except OSError:
        return False
