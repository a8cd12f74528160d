"""The lower layers of a stack, as seen from above: which file of which layer a path names.

Used where a layer speaks of its parents: hard links to their files, and directories without an entry of
their own. Whiteouts and opaque directories in between are respected as overlayfs does.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from kist.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_OPAQUE = "trusted.overlay.opaque"
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS


class Found:
    """A file of a lower layer, held by an O_PATH descriptor."""

    __slots__ = ("fd", "stat")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.stat = os.fstat(fd)

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    @property
    def path(self) -> str:
        """A path to it for calls that don't take O_PATH descriptors (no component is anybody else's)."""
        return f"/proc/self/fd/{self.fd}"


def find(lowers: Sequence[str], path: bytes) -> Found | None:
    """The uppermost file at *path* (cleaned, relative, ``b""`` is the root); None if there is none or it was deleted.

    Links on the way are not followed: a layer that names a file of another one spells its real path.
    """
    if not path:
        return Found(os.open(lowers[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) if lowers else None
    parts = path.split(b"/")
    for root in lowers:
        directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            below = True
            for depth in range(1, len(parts) + 1):
                try:
                    fd = openat2(directory, os.fsdecode(b"/".join(parts[:depth])), os.O_PATH | os.O_NOFOLLOW, 0,
                                 _BENEATH)
                except OSError:
                    break
                found = Found(fd)
                if depth == len(parts) and not _hides(found):
                    return found
                with found:
                    if _hides(found) or not stat.S_ISDIR(found.stat.st_mode):
                        return None
                    below = below and not is_opaque(found.path)
            if not below:
                return None
        finally:
            os.close(directory)
    return None


def is_opaque(path: str | int) -> bool:
    """Whether a directory of a layer hides the lower ones' entries."""
    try:
        return os.getxattr(path, _OPAQUE) == b"y"
    except OSError:
        return False


def _hides(found: Found) -> bool:
    return stat.S_ISCHR(found.stat.st_mode) and found.stat.st_rdev == 0


def copy_up(source: Found, directory: int, name: bytes) -> int:
    """Copy a file with its attributes to *name* in *directory*; the number of bytes is returned."""
    mode = source.stat.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "Is a directory")
    size = 0
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(b"", dir_fd=source.fd), name, dir_fd=directory)
    elif stat.S_ISREG(mode):
        size = _copy_data(source, directory, name)
    else:
        os.mknod(name, stat.S_IFMT(mode) | 0o600, source.stat.st_rdev, dir_fd=directory)
    os.chown(name, source.stat.st_uid, source.stat.st_gid, dir_fd=directory, follow_symlinks=False)
    if not stat.S_ISLNK(mode):
        os.chmod(name, stat.S_IMODE(mode), dir_fd=directory)
    if stat.S_ISREG(mode):
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            _copy_attributes(source, fd)
        finally:
            os.close(fd)
    times = (source.stat.st_atime_ns, source.stat.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
    return size


def adopt(source: Found, directory: int) -> int | None:
    """Give *directory* the attributes of the lower directory *source*; its time in nanoseconds is returned."""
    if not stat.S_ISDIR(source.stat.st_mode):
        return None
    os.fchown(directory, source.stat.st_uid, source.stat.st_gid)
    os.fchmod(directory, stat.S_IMODE(source.stat.st_mode))
    _copy_attributes(source, directory)
    return source.stat.st_mtime_ns


def _copy_data(source: Found, directory: int, name: bytes) -> int:
    size = 0
    reader = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC
        writer = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            while copied := _copy_some(reader, writer):
                size += copied
        finally:
            os.close(writer)
    finally:
        os.close(reader)
    return size


def _copy_some(reader: int, writer: int) -> int:
    try:
        return os.copy_file_range(reader, writer, 1 << 30)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return os.sendfile(writer, reader, None, 1 << 30)  # from a layer that is a file system of its own


def _copy_attributes(source: Found, fd: int) -> None:
    for key in os.listxattr(source.path):
        if not key.startswith("trusted."):
            os.setxattr(fd, key, os.getxattr(source.path, key))
