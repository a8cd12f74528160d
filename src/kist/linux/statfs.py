"""fstatfs(2), for the one field that says which kind of file system a descriptor is on."""

from __future__ import annotations

import ctypes
import struct

from kist.linux.libc import fail, libc

_fstatfs = libc.fstatfs
_fstatfs.argtypes = (ctypes.c_int, ctypes.c_void_p)

PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270


def magic(fd: int) -> int:
    """``f_type``: a long, the first field on every 64-bit machine but s390x, where it is an int."""
    buffer = ctypes.create_string_buffer(256)
    if _fstatfs(fd, buffer) < 0:
        raise fail()
    return int(struct.unpack_from("=I", buffer.raw)[0])
