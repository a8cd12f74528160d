"""Flags of inodes (ioctl_iflags(2)): hints and promises that a file system keeps per file."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_TOPDIR_FL = 0x00020000
_LACKING = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)


def add(path: str, flags: int) -> bool:
    """Set ``flags`` of a file or directory, besides those that it has; False where its file system has none such."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The kernel reads and writes an int, whatever the number of the request says.
        have = struct.unpack_from("=I", fcntl.ioctl(fd, FS_IOC_GETFLAGS, bytes(8)))[0]
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("=II", have | flags, 0))
    except OSError as error:
        if error.errno in _LACKING:
            return False
        raise
    finally:
        os.close(fd)
    return True
