"""A sealed interpreter: run Python from a read-only mount that nothing else can reach.

A program in a container may get hold of the runtime's own executable through ``/proc/self/exe`` (a script
whose interpreter is ``/proc/self/exe`` is enough) and later overwrite it: CVE-2019-5736. So the processes
that enter containers run their interpreter from a detached, read-only clone of the mount it lies on: what the
link leads to can't be opened for writing, by nobody. The clone costs two system calls and no copy.

The command does this before anything else, in an interpreter that it then leaves. So nothing is imported here but
the extension below `ctypes`, which alone takes a third of the time of the whole.
"""

from __future__ import annotations

import _ctypes
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
SYS_OPEN_TREE, SYS_MOUNT_SETATTR = 428, 442  # the same on every architecture
OPEN_TREE_CLONE = 1
CLONE_NEWNS = 0x20000
READ_ONLY = (1).to_bytes(8, sys.byteorder) + bytes(24)  # struct mount_attr: set MOUNT_ATTR_RDONLY, clear nothing


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


def _call(name: str, path: str, *arguments: object) -> int:
    """A function of libc's; OSError names ``path``."""
    function: Any = _Function(_ctypes.dlsym(_ctypes.dlopen(None, 0), name))  # type: ignore[arg-type]
    result: int = function(*arguments)
    if result < 0:
        code = _ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


def open_executable(path: str) -> int:
    """A descriptor of the executable ``path`` on a read-only mount of its own. It may be exec'ed as
    ``/proc/self/fd/N`` (close-on-exec stays set: the kernel keeps the mount as long as the program runs)."""
    real = os.path.realpath(path)
    clone = "syscall", real, SYS_OPEN_TREE, AT_FDCWD, os.fsencode(real), OPEN_TREE_CLONE | os.O_CLOEXEC
    try:
        fd = _call(*clone)
    except PermissionError:  # root of a user namespace only: the mounts are the machine's, copies of them are his
        _call("unshare", real, CLONE_NEWNS)
        fd = _call(*clone)
    try:
        _call("syscall", real, SYS_MOUNT_SETATTR, fd, b"", AT_EMPTY_PATH, READ_ONLY, len(READ_ONLY))
    except OSError:
        os.close(fd)
        raise
    return fd


def is_sealed() -> bool:
    """Does this process run an executable that lies on a read-only mount?"""
    return bool(os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY)


def reexec(executable: str, argv: list[str]) -> None:
    """Replace this process by ``argv``, run by the sealed ``executable``. Returns only by an OSError."""
    fd = open_executable(executable)
    os.execv(f"/proc/self/fd/{fd}", [executable, *argv])
