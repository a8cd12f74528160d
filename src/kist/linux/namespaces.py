"""unshare(2), setns(2), clone3(2), sethostname(2), setdomainname(2)."""

from __future__ import annotations

import ctypes
import os

from kist.linux.libc import SYS_clone3, fail, libc, syscall

CLONE_VM = 0x100
CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

# OCI's word for a kind (runtime-spec 1.2, config-linux.md#namespaces) → flag, and the name in /proc/PID/ns.
FLAG = {"user": CLONE_NEWUSER, "mount": CLONE_NEWNS, "pid": CLONE_NEWPID, "network": CLONE_NEWNET,
        "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS, "cgroup": CLONE_NEWCGROUP, "time": CLONE_NEWTIME}
PROC_NAME = {"user": "user", "mount": "mnt", "pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts",
             "cgroup": "cgroup", "time": "time"}

_unshare = libc.unshare
_unshare.argtypes = (ctypes.c_int,)
_setns = libc.setns
_setns.argtypes = (ctypes.c_int, ctypes.c_int)
_sethostname = libc.sethostname
_sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_setdomainname = libc.setdomainname
_setdomainname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


class CloneArgs(ctypes.Structure):
    """``struct clone_args`` up to the field of Linux 5.7."""

    _fields_ = [(name, ctypes.c_uint64) for name in (
        "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
        "set_tid_size", "cgroup")]


def unshare(flags: int) -> None:
    if _unshare(flags) < 0:
        raise fail()


def setns(fd: int, flags: int = 0) -> None:
    if _setns(fd, flags) < 0:
        raise fail()


def sethostname(name: str) -> None:
    raw = name.encode()
    if _sethostname(raw, len(raw)) < 0:
        raise fail()


def setdomainname(name: str) -> None:
    raw = name.encode()
    if _setdomainname(raw, len(raw)) < 0:
        raise fail()


def clone3(flags: int, *, cgroup_fd: int | None = None, exit_signal: int = 17) -> tuple[int, int]:
    """Fork with namespaces (and on cgroup v2 right into a cgroup): (0, -1) in the child, (pid, pidfd) in the
    parent. Only for processes with one thread: the C library's and Python's after-fork work is left out."""
    pidfd = ctypes.c_int(-1)
    args = CloneArgs(flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd), exit_signal=exit_signal)
    if cgroup_fd is not None:
        args.flags |= CLONE_INTO_CGROUP
        args.cgroup = cgroup_fd
    pid = syscall(SYS_clone3, ctypes.byref(args), ctypes.c_size_t(ctypes.sizeof(args)))
    if pid == 0:
        return 0, -1
    return pid, pidfd.value


def ns_path(pid: int | str, kind: str) -> str:
    return f"/proc/{pid}/ns/{PROC_NAME[kind]}"


def in_user_namespace() -> bool:
    """user_namespaces(7): the first one maps every id to itself."""
    fd = os.open("/proc/self/uid_map", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096).split() != [b"0", b"0", b"4294967295"]
    finally:
        os.close(fd)
