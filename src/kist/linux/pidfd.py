"""pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2)."""

from __future__ import annotations

from kist.linux.libc import SYS_pidfd_getfd, SYS_pidfd_open, SYS_pidfd_send_signal, syscall


def pidfd_open(pid: int) -> int:
    return syscall(SYS_pidfd_open, pid, 0, path=str(pid))


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    syscall(SYS_pidfd_send_signal, pidfd, signal, None, 0)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    return syscall(SYS_pidfd_getfd, pidfd, fd, 0)
