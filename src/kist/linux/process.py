"""What a process sets on itself: prctl(2), capset(2), close_range(2), personality(2), scheduling, keyrings."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from kist.linux.libc import SYS_close_range, fail, libc, number, syscall

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_IS_SET = 1
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_SET_IO_FLUSHER = 57

CLOSE_RANGE_CLOEXEC = 4
KEYCTL_JOIN_SESSION_KEYRING = 1
_CAPABILITY_VERSION_3 = 0x20080522

_prctl = libc.prctl
_prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_bare_prctl = ctypes.pythonapi.prctl
_personality = libc.personality
_personality.argtypes = (ctypes.c_ulong,)


def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int:
    result: int = _prctl(option, arg2, arg3, arg4, arg5)
    if result < 0:
        raise fail()
    return result


def prctl_number(option: int, arg2: int) -> None:
    """prctl for an option with one number (below 2**31). It writes to a third of the memory that the general one does:
    no converters, no copy of errno. That counts in a process that shares its memory, see launcher/memory.py."""
    if _bare_prctl(option, arg2, 0, 0, 0) < 0:
        raise OSError(errno.EINVAL, f"prctl {option}: {os.strerror(errno.EINVAL)}")  # the one error of such options


def set_name(name: str) -> None:
    """PR_SET_NAME: the title of the thread, 15 bytes at most."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    prctl(PR_SET_NAME, ctypes.addressof(buffer))


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Each set is a mask with bit n for capability n."""
    low = 0xFFFFFFFF
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("=6I", effective & low, permitted & low, inheritable & low,
                       effective >> 32, permitted >> 32, inheritable >> 32)
    syscall(number("capset"), header, data)


def capget() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of this thread."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    syscall(number("capget"), header, data)
    e0, p0, i0, e1, p1, i1 = struct.unpack("=6I", data.raw)
    return e0 | e1 << 32, p0 | p1 << 32, i0 | i1 << 32


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    syscall(SYS_close_range, ctypes.c_uint(first), ctypes.c_uint(last), flags)


def personality(persona: int) -> None:
    if _personality(persona) < 0:
        raise fail()


def ioprio_set(klass: int, level: int) -> None:
    """Class 1 real time, 2 best effort, 3 idle; level 0 (first) to 7. For this process."""
    syscall(number("ioprio_set"), 1, 0, klass << 13 | level)


def sched_setattr(policy: int, *, flags: int = 0, nice: int = 0, priority: int = 0, runtime: int = 0,
                  deadline: int = 0, period: int = 0) -> None:
    """For this thread; times in nanoseconds."""
    attr = struct.pack("=IIQiIQQQ", 48, policy, flags, nice, priority, runtime, deadline, period)
    syscall(number("sched_setattr"), 0, attr, 0)


def set_mempolicy(mode: int, nodes: list[int]) -> None:
    bits = 0
    for node in nodes:
        bits |= 1 << node
    mask = (ctypes.c_ulong * 16)(*(bits >> 64 * i & 0xFFFFFFFFFFFFFFFF for i in range(16)))
    syscall(number("set_mempolicy"), mode, mask if nodes else None, ctypes.c_ulong(1024 if nodes else 0))


def join_session_keyring(name: str) -> None:
    """A keyring of its own, so that a container can't read the session keys of whoever started it."""
    syscall(number("keyctl"), KEYCTL_JOIN_SESSION_KEYRING, name.encode())


def executed(pid: int) -> bool:
    """Whether a process that isn't reaped yet has called execve(2) since its fork: proc_pid_stat(5), flags.

    A zombie's are those it died with; linux/sched.h, PF_FORKNOEXEC: forked but didn't exec."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return not int(file.read().rsplit(b")", 1)[1].split()[6]) & 0x40
