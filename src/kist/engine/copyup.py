"""Filling a new volume with what the image has at its mount point (Docker's copy-up). Blocking.

The source is a hostile tree: it is read by descriptor, links are copied and never followed. The target is a new
directory of ours.
"""

from __future__ import annotations

import errno
import os
import stat

from kist.linux.openat2 import Root

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 24
MAX_DEPTH = 500


def copy_up(root: Root, path: str, target: str) -> None:
    """Copy what is at `path` in the image into the empty directory `target`, the directory's own attributes
    too. Nothing where the image has no such directory."""
    try:
        source = root.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        there = os.open(target, _DIRECTORY)
        try:
            _copy_directory(source, there, {}, 0)
            _dress(source, there)
        finally:
            os.close(there)
    finally:
        os.close(source)


def _copy_directory(source: int, target: int, links: dict[tuple[int, int], str], depth: int) -> None:
    """`links`: files with several names that were copied → a path by which they can be linked again."""
    if depth > MAX_DEPTH:
        raise OSError(errno.ELOOP, "directories nested too deeply")
    with os.scandir(source) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        key = (info.st_dev, info.st_ino)
        if info.st_nlink > 1 and key in links and not stat.S_ISDIR(info.st_mode):
            os.link(links[key], name, dst_dir_fd=target, follow_symlinks=False)
            continue
        _copy_entry(source, target, name, info, links, depth)
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            links[key] = os.path.join(os.readlink(f"/proc/self/fd/{target}"), name)


def _copy_entry(source: int, target: int, name: str, info: os.stat_result, links: dict[tuple[int, int], str],
                depth: int) -> None:
    if stat.S_ISDIR(info.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        inner, made = os.open(name, _DIRECTORY, dir_fd=source), os.open(name, _DIRECTORY, dir_fd=target)
        try:
            _copy_directory(inner, made, links, depth + 1)
            _dress(inner, made)
        finally:
            os.close(inner)
            os.close(made)
    elif stat.S_ISREG(info.st_mode):
        _copy_file(source, target, name)
    elif stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
    else:
        os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
        os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=target)


def _copy_file(source: int, target: int, name: str) -> None:
    there = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=source)
    here = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
    try:
        while os.sendfile(here, there, None, _CHUNK):  # copy_file_range(2) refuses to leave an overlay
            pass
        _dress(there, here)
    finally:
        os.close(there)
        os.close(here)


def _dress(source: int, target: int) -> None:
    """Owner, extended attributes, mode, times: in this order, since chown clears set-id bits."""
    info = os.fstat(source)
    os.fchown(target, info.st_uid, info.st_gid)
    for name in os.listxattr(source):
        if name.startswith(("user.", "security.capability", "system.posix_acl")):
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
