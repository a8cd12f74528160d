"""mount(2), umount2(2), pivot_root(2) and the file-descriptor mount interface (Linux 5.2; attributes 5.12).

A detached mount (`fsmount`, `open_tree` with `OPEN_TREE_CLONE`) has no path yet: flags are set on it before
anybody can see it, and it vanishes with its descriptor when something fails on the way.
"""

from __future__ import annotations

import ctypes
import os
import struct

from kist.linux.libc import (
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_open_tree,
    fail,
    libc,
    libc_blocking,
    number,
    syscall,
)

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
AT_RECURSIVE = 0x8000
AT_EMPTY_PATH = 0x1000
AT_SYMLINK_NOFOLLOW = 0x100
AT_FDCWD = -100

MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_SET_FD = 5
FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

_mount = libc.mount
_mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2 = libc.umount2
_umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


def mount(source: str, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    if _mount(os.fsencode(source), os.fsencode(target), fstype.encode() if fstype else None, flags,
              os.fsencode(data) if data else None) < 0:
        raise fail(target)


_mount_waiting = libc_blocking.mount
_mount_waiting.argtypes = _mount.argtypes


def mount_waiting(source: str, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    """`mount` for what may take long (a network's file system): other threads go on meanwhile."""
    if _mount_waiting(os.fsencode(source), os.fsencode(target), fstype.encode() if fstype else None, flags,
                      os.fsencode(data) if data else None) < 0:
        raise fail(target)


def umount2(target: str, flags: int = 0) -> None:
    if _umount2(os.fsencode(target), flags) < 0:
        raise fail(target)


def pivot_root(new_root: str, put_old: str) -> None:
    syscall(number("pivot_root"), os.fsencode(new_root), os.fsencode(put_old), path=new_root)


def fsopen(fstype: str) -> int:
    return syscall(SYS_fsopen, fstype.encode(), FSOPEN_CLOEXEC, path=fstype)


def fsconfig_string(fd: int, key: str, value: str) -> None:
    syscall(SYS_fsconfig, fd, FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0, path=f"{key}={value}")


def fsconfig_flag(fd: int, key: str) -> None:
    syscall(SYS_fsconfig, fd, FSCONFIG_SET_FLAG, key.encode(), None, 0, path=key)


def fsconfig_fd(fd: int, key: str, value: int) -> None:
    syscall(SYS_fsconfig, fd, FSCONFIG_SET_FD, key.encode(), None, value, path=key)


def fsconfig_create(fd: int) -> None:
    syscall(SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attr_flags: int = 0) -> int:
    return syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, attr_flags)


def detached(fstype: str, options: list[str], attr_flags: int = 0) -> int:
    """A new file system as a detached mount: `fsopen`, `fsconfig` per option, `fsmount`."""
    context = fsopen(fstype)
    try:
        for option in options:
            key, equals, value = option.partition("=")
            if equals:
                fsconfig_string(context, key, value)
            else:
                fsconfig_flag(context, key)
        fsconfig_create(context)
        return fsmount(context, attr_flags)
    except OSError as error:
        raise OSError(error.errno, _kernel_says(context) or error.strerror, error.filename) from None
    finally:
        os.close(context)


def _kernel_says(context: int) -> str:
    """The kernel's own words about a failed mount can be read from the context, one message per read."""
    words: list[str] = []
    while len(words) < 16:
        try:
            words.append(os.read(context, 4096).decode(errors="replace").strip()[2:])
        except OSError:
            break
    return "; ".join(words)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    return syscall(SYS_open_tree, dirfd, os.fsencode(path), flags | OPEN_TREE_CLOEXEC, path=path)


def move_mount(mount_fd: int, dirfd: int, path: str = "") -> None:
    """Attach the (detached) mount at ``path`` below ``dirfd``, or on ``dirfd`` itself."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if path else MOVE_MOUNT_T_EMPTY_PATH)
    syscall(SYS_move_mount, mount_fd, b"", dirfd, os.fsencode(path), flags, path=path)


def mount_setattr(fd: int, *, set: int = 0, clear: int = 0, propagation: int = 0, userns_fd: int = 0,
                  recursive: bool = False) -> None:
    attr = struct.pack("=QQQQ", set, clear, propagation, userns_fd)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall(SYS_mount_setattr, fd, b"", flags, attr, ctypes.c_size_t(len(attr)))
