"""``tmpcopyup``: what lay in the directory is copied into the tmpfs that covers it (config.md#mounts).

By descriptors only: the tree is the image's, so no path of it may be walked twice.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_NOFOLLOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def copy_up(source: int, target: int, given: Collection[str] = ()) -> None:
    """Copy the tree at descriptor ``source`` (may be O_PATH) into the directory ``target``, which keeps of its own
    attributes those that were ``given``: "mode", "uid", "gid"."""
    reader = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=source)
    try:
        _copy_attributes(reader, target, given)
        for name in os.listdir(reader):
            _copy_entry(reader, target, name)
    finally:
        os.close(reader)


def _copy_entry(source: int, target: int, name: str) -> None:
    info = os.stat(name, dir_fd=source, follow_symlinks=False)
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFLNK:
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
    elif kind == stat.S_IFDIR:
        os.mkdir(name, 0o700, dir_fd=target)
        below_source = os.open(name, _NOFOLLOW | os.O_DIRECTORY, dir_fd=source)
        below_target = os.open(name, _NOFOLLOW | os.O_DIRECTORY, dir_fd=target)
        copy_up(below_source, below_target)
        os.close(below_source)
        os.close(below_target)
    elif kind == stat.S_IFREG:
        _copy_file(source, target, name)
    else:
        os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)


def _copy_file(source: int, target: int, name: str) -> None:
    reader = os.open(name, _NOFOLLOW, dir_fd=source)
    writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
    while chunk := os.read(reader, 1 << 20):
        os.write(writer, chunk)
    _copy_attributes(reader, writer)
    os.close(reader)
    os.close(writer)


def _copy_attributes(source: int, target: int, given: Collection[str] = ()) -> None:
    """Owner first: chown(2) clears the set-id bits."""
    info = os.fstat(source)
    if stat.S_ISDIR(info.st_mode):
        os.chown(".", -1 if "uid" in given else info.st_uid, -1 if "gid" in given else info.st_gid, dir_fd=target)
        if "mode" not in given:
            os.chmod(".", stat.S_IMODE(info.st_mode), dir_fd=target)
        for name in _xattrs(source):
            _set_xattr(f"/proc/self/fd/{target}/.", name, os.getxattr(source, name))
        return
    os.fchown(target, info.st_uid, info.st_gid)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    for name in _xattrs(source):
        os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def _xattrs(fd: int) -> list[str]:
    try:
        return [name for name in os.listxattr(fd) if name.startswith(("user.", "security.capability"))]
    except OSError:
        return []


def _set_xattr(path: str, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError:
        pass  # tmpfs takes user.* only since Linux 6.6; the copy is no worse than the peers' then
