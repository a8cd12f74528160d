"""The three standard streams of a process that is to become the user's."""

from __future__ import annotations

import os
import stat

from kist.linux import mount as m
from kist.linux.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2
from kist.runtime.root import is_null
from kist.runtime.step import Context

# The container may have put anything in its place: opening that must neither wait nor take a terminal.
_OPEN = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY


def standard_streams(ctx: Context) -> None:
    """The terminal, or the descriptors given; they belong to the user, who may open /dev/stdout again."""
    if ctx.slave >= 0:
        from kist.runtime.console import take_terminal  # here already, by the step that opened the terminal

        take_terminal(ctx.slave)
        return
    fds = [os.dup(fd) for fd in ctx.stdio or ()]
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    _take_own_null(ctx)
    uid = (ctx.process.get("user") or {}).get("uid") or 0
    if uid:
        for fd in (0, 1, 2):
            _give(fd, uid)


def _take_own_null(ctx: Context) -> None:
    """In place of the machine's null device, the container's: by /proc/self/fd/0 root of a container could take the
    machine's away from everybody with chmod(2). In a user namespace that has no right to it, it may stay."""
    null = -1
    for fd in (0, 1, 2):
        if is_null(fd):
            null = null if null >= 0 else _null_of(ctx)
            if null >= 0:
                os.dup2(null, fd)
    if null >= 0:
        os.close(null)


def _null_of(ctx: Context) -> int:
    """The container's own /dev/null; if that is none, a node that nobody else has. -1: neither."""
    try:
        fd = openat2(ctx.root.fd, "dev/null", _OPEN, 0, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    except OSError:
        return _lone_null()
    if is_null(fd):
        os.set_blocking(fd, True)
        return fd
    os.close(fd)
    return _lone_null()


def _lone_null() -> int:
    """On a file system that goes with its last descriptor."""
    try:
        tree = m.detached("tmpfs", ["source=tmpfs", "nr_inodes=2", "mode=755"])
        try:
            os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=tree)
            return os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=tree)
        finally:
            os.close(tree)
    except PermissionError:
        return -1


def _give(fd: int, uid: int) -> None:
    """Never a null device: others have it, too."""
    if os.fstat(fd).st_uid == uid or is_null(fd):
        return
    try:
        os.fchown(fd, uid, -1)
    except OSError:
        pass  # a descriptor on a file system that can't: the program can still use the descriptor itself
