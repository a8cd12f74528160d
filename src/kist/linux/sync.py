"""syncfs(2): one flush for everything written to a file system, instead of an fsync per file."""

from __future__ import annotations

from kist.linux.libc import fail, libc_blocking


def syncfs(fd: int) -> None:
    """Return when all of the file system that holds ``fd`` is on the disk; EIO if a write-back failed."""
    if libc_blocking.syncfs(fd) < 0:
        raise fail()
