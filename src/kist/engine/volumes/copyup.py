"""Copying trees as they are: a new volume's first content from its image (Docker's copy-up), snapshots. Blocking.

The source is a hostile tree that may change meanwhile: it is read by descriptor, links are copied and never followed.
The target is a new directory of ours. Files share their blocks with the source where the file system can
(ioctl_ficlone(2)), else holes stay holes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from kist.linux.openat2 import Root, chmod_node, open_regular

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 24
FICLONE = 0x40049409
MAX_DEPTH = 500
_CANT_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.ETXTBSY, errno.EPERM)


def copy_up(root: Root, path: str, target: str) -> None:
    """Copy what is at `path` in the image into the empty directory `target`, the directory's own attributes
    too. Nothing where the image has no such directory."""
    try:
        source = root.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        Copier().tree(source, target)
    finally:
        os.close(source)


class Copier:
    """Copies trees; `cloned` and `copied` count the files whose blocks are shared, and those that were read."""

    def __init__(self) -> None:
        self.cloned = self.copied = 0
        self._clone = True  # until the file system said that it can't
        self._links: dict[tuple[int, int], str] = {}  # files with several names → a path to link them again

    def tree(self, source: int, target: str) -> None:
        """Everything in the directory `source` (a descriptor) into the directory `target`, its own attributes too."""
        there = os.open(target, _DIRECTORY)
        try:
            self._directory(source, there, 0)
            _dress(source, there)
        finally:
            os.close(there)

    def file(self, source: int, target: int) -> None:
        """The content of one file."""
        if self._clone:
            try:
                fcntl.ioctl(target, FICLONE, source)
                self.cloned += 1
                return
            except OSError as error:
                if error.errno not in _CANT_CLONE:
                    raise
                self._clone = False
        self.copied += 1
        _copy_data(source, target)

    def _directory(self, source: int, target: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise OSError(errno.ELOOP, "directories nested too deeply")
        with os.scandir(source) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            info = os.stat(name, dir_fd=source, follow_symlinks=False)
            key = (info.st_dev, info.st_ino)
            several = info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode)
            if several and key in self._links:
                os.link(self._links[key], name, dst_dir_fd=target, follow_symlinks=False)
                continue
            self._entry(source, target, name, info, depth)
            if several:
                self._links[key] = os.path.join(os.readlink(f"/proc/self/fd/{target}"), name)

    def _entry(self, source: int, target: int, name: str, info: os.stat_result, depth: int) -> None:
        if stat.S_ISDIR(info.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            inner, made = os.open(name, _DIRECTORY, dir_fd=source), os.open(name, _DIRECTORY, dir_fd=target)
            try:
                self._directory(inner, made, depth + 1)
                _dress(inner, made)
            finally:
                os.close(inner)
                os.close(made)
        elif stat.S_ISREG(info.st_mode):
            self._regular(source, target, name)
        else:
            if stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            else:
                os.mknod(name, info.st_mode, info.st_rdev, dir_fd=target)
                chmod_node(name, stat.S_IMODE(info.st_mode), target)
            os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
            os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _regular(self, source: int, target: int, name: str) -> None:
        there = open_regular(name, source)
        here = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            self.file(there, here)
            _dress(there, here)
        finally:
            os.close(there)
            os.close(here)


def _copy_data(source: int, target: int) -> None:
    """The parts that hold data; copy_file_range(2) refuses to leave an overlay, sendfile(2) doesn't."""
    size, at = os.fstat(source).st_size, 0
    os.ftruncate(target, size)
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
            end = os.lseek(source, at, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole to the end
                return
            end = size
        os.lseek(target, at, os.SEEK_SET)
        while at < end:
            sent = os.sendfile(target, source, at, min(_CHUNK, end - at))
            if not sent:  # cut off meanwhile
                return
            at += sent


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
