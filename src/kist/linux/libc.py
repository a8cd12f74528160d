"""The C library, opened once, and the one way to call it: errors become OSError.

`PyDLL` keeps the interpreter lock during a call: these processes have one thread, and giving the lock
away and taking it back would cost more than most of the calls. Calls that wait use `libc_blocking`.
"""

from __future__ import annotations

import ctypes
import os

libc = ctypes.PyDLL(None, use_errno=True)
libc_blocking = ctypes.CDLL(None, use_errno=True)

_syscall = libc.syscall
_syscall.restype = ctypes.c_long

get_errno = ctypes.get_errno

# Numbers since 424 are the same on every architecture (Linux' include/uapi/asm-generic/unistd.h).
SYS_pidfd_send_signal = 424
SYS_open_tree = 428
SYS_move_mount = 429
SYS_fsopen = 430
SYS_fsconfig = 431
SYS_fsmount = 432
SYS_fspick = 433
SYS_pidfd_open = 434
SYS_clone3 = 435
SYS_close_range = 436
SYS_openat2 = 437
SYS_pidfd_getfd = 438
SYS_mount_setattr = 442

MACHINE = os.uname().machine

# The older numbers differ: a table per machine; another machine fails at the first call, with its name.
_OLD_NUMBERS = {
    "x86_64": {"pivot_root": 155, "capset": 126, "ioprio_set": 251, "sched_setattr": 314, "bpf": 321,
               "seccomp": 317, "keyctl": 250, "set_mempolicy": 238, "execveat": 322, "capget": 125},
    "aarch64": {"pivot_root": 41, "capset": 91, "ioprio_set": 30, "sched_setattr": 274, "bpf": 280,
                "seccomp": 277, "keyctl": 219, "set_mempolicy": 237, "execveat": 281, "capget": 90},
    "riscv64": {"pivot_root": 41, "capset": 91, "ioprio_set": 30, "sched_setattr": 274, "bpf": 280,
                "seccomp": 277, "keyctl": 219, "set_mempolicy": 237, "execveat": 281, "capget": 90},
}


def number(name: str) -> int:
    """The number of one of the older system calls on this machine."""
    try:
        return _OLD_NUMBERS[MACHINE][name]
    except KeyError:
        raise OSError(38, f"no number known for {name}(2) on {MACHINE}") from None


def fail(path: str | None = None, path2: str | None = None) -> OSError:
    """The OSError for the call that just failed."""
    code = ctypes.get_errno()
    if path2 is not None:
        return OSError(code, os.strerror(code), path, None, path2)
    return OSError(code, os.strerror(code), path) if path is not None else OSError(code, os.strerror(code))


def syscall(nr: int, *args: object, path: str | None = None) -> int:
    """``syscall(2)``: integers must be wrapped by the caller where 32 bits are not enough."""
    result: int = _syscall(ctypes.c_long(nr), *args)
    if result < 0:
        raise fail(path)
    return result


_prlimit = libc.prlimit64
_prlimit.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def prlimit(resource: int, soft: int, hard: int) -> None:
    """For this process; the module `resource` would cost an import."""
    pair = (ctypes.c_uint64 * 2)(soft, hard)
    if _prlimit(0, resource, pair, None) < 0:
        raise fail()
