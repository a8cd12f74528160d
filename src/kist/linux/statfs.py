"""fstatfs(2), for the one field that says which kind of file system a descriptor is on."""

from __future__ import annotations

import ctypes
import os
import struct

from kist.linux.libc import fail, libc

_fstatfs = libc.fstatfs
_fstatfs.argtypes = (ctypes.c_int, ctypes.c_void_p)

PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270
# Those whose files the kernel makes up as they are read (linux/magic.h).
_MADE_UP = frozenset({PROC_SUPER_MAGIC, DEVPTS_SUPER_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, 0x62656572,
                      0x19800202, 0x73636673, 0x64626720, 0x74726163, 0xCAFE4A11, 0x42494E4D})
# statfs(2), by the names that Docker's `info` uses.
_KINDS = {0xEF53: "extfs", 0x58465342: "xfs", 0x9123683E: "btrfs", 0x794C7630: "overlayfs", 0x01021994: "tmpfs",
          0x2FC12FC1: "zfs", 0xF2F52010: "f2fs", 0x6969: "nfs", 0xCA451A4E: "bcachefs"}


def is_made_up(fd: int) -> bool:
    """Does it lie on procfs, sysfs or their like, whose content belongs in no copy of a tree?"""
    return magic(fd) in _MADE_UP


def kind_of(path: str) -> str:
    """The name of the file system that ``path`` lies on; its number if it is a rare one."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        number = magic(fd)
    finally:
        os.close(fd)
    return _KINDS.get(number, f"{number:#x}")


def magic(fd: int) -> int:
    """``f_type``: a long, the first field on every 64-bit machine but s390x, where it is an int."""
    buffer = ctypes.create_string_buffer(256)
    if _fstatfs(fd, buffer) < 0:
        raise fail()
    return int(struct.unpack_from("=I", buffer.raw)[0])
