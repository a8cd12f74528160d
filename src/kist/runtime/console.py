"""The container's terminal comes from the container's own devpts: its number is right in there.

The pair is opened by descriptor: ``ptmx`` below the root, verified to be devpts' multiplexer, and the other end
by TIOCGPTPEER, so that no path of the container decides what is opened (CVE-2025-52565).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios

from kist.linux import mount as m
from kist.linux.openat2 import RESOLVE_BENEATH, Root, openat2
from kist.linux.statfs import DEVPTS_SUPER_MAGIC, magic
from kist.runtime.errors import StepError
from kist.runtime.step import Context, Step

TIOCSPTLCK = 0x40045431
TIOCGPTPEER = 0x5441


def open_pair(root: Root) -> tuple[int, int]:
    """(master, slave)."""
    master = root.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    if magic(master) != DEVPTS_SUPER_MAGIC or os.fstat(master).st_rdev != os.makedev(5, 2):
        os.close(master)
        raise StepError("open a terminal: /dev/pts/ptmx is not devpts' multiplexer", errno.ENODEV)
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    return master, slave


class OpenConsole(Step):
    """process.terminal, process.consoleSize, process.user: the terminal belongs to the user."""

    __slots__ = ("bind", "size", "uid")
    syscall = "openat2(2), ioctl TIOCGPTPEER, open_tree(2)"
    why = "the terminal of the process, from the container's own devpts; also bound on /dev/console"

    def __init__(self, process: dict[str, object], *, bind: bool) -> None:
        size = process.get("consoleSize")
        self.size = (int(size.get("height", 0)), int(size.get("width", 0))) if isinstance(size, dict) else None
        user = process.get("user")
        self.uid = int(user.get("uid", 0)) if isinstance(user, dict) else 0
        self.bind = bind

    def describe(self) -> str:
        return "open the container's terminal"

    def run(self, ctx: Context) -> None:
        ctx.console, ctx.slave = open_pair(ctx.root)
        if self.size:
            fcntl.ioctl(ctx.slave, termios.TIOCSWINSZ, struct.pack("HHHH", *self.size, 0, 0))
        if self.uid:
            os.fchown(ctx.slave, self.uid, -1)
        if self.bind:
            _bind_console(ctx)


def _bind_console(ctx: Context) -> None:
    parent = ctx.root.mkdirs("/dev")
    try:
        os.close(openat2(parent, "console", os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK,
                         0o620, RESOLVE_BENEATH))
        target = openat2(parent, "console", os.O_PATH | os.O_NOFOLLOW, 0, RESOLVE_BENEATH)
        tree = m.open_tree(ctx.slave, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
        m.move_mount(tree, target)
        os.close(tree)
        os.close(target)
    finally:
        os.close(parent)


def take_terminal(slave: int) -> None:
    """The slave becomes the controlling terminal and standard input, output and error."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    if slave > 2:
        os.close(slave)
