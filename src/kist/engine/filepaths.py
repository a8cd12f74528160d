"""What paths in a container mean to cp: which file, under which name in an archive, as the API tells of it."""

from __future__ import annotations

import errno
import os
import posixpath
import stat as modes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kist.engine import times
from kist.errors import EngineFailure, InvalidParameter, NotFound
from kist.linux.openat2 import Root

Json = dict[str, Any]
# Go's os.FileMode bits for what is no plain file.
_GO_MODES = ((modes.S_ISDIR, 1 << 31), (modes.S_ISLNK, 1 << 27), (modes.S_ISFIFO, 1 << 25), (modes.S_ISSOCK, 1 << 24),
             (modes.S_ISBLK, 1 << 26), (modes.S_ISCHR, (1 << 26) | (1 << 21)))
_GO_BITS = ((modes.S_ISUID, 1 << 23), (modes.S_ISGID, 1 << 22), (modes.S_ISVTX, 1 << 20))
# What is wrong with the path itself, whatever the container holds.
_PATH_ERRORS = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})


def path_stat(root: Root, path: str, container: str) -> Json:
    """The API's ContainerPathStat. A link as last component is not followed unless a slash comes after it."""
    with resolved(root, path, container) as (fd, _):
        info = os.fstat(fd)
        target = ""
        if modes.S_ISLNK(info.st_mode):
            link = os.readlink("", dir_fd=fd)
            target = posixpath.normpath(posixpath.join(posixpath.dirname(_plain(path)), link))
    return {"name": base_name(path), "size": info.st_size, "mode": go_mode(info.st_mode),
            "mtime": times.rfc3339(info.st_mtime_ns), "linkTarget": target}


def go_mode(mode: int) -> int:
    found = mode & 0o777
    for test, bits in _GO_MODES:
        found |= bits if test(mode) else 0
    for bit, bits in _GO_BITS:
        found |= bits if mode & bit else 0
    return found


def base_name(path: str) -> str:
    """The first part of the archive's names: `b` of /a/b, `.` of /a/. and `/` of the root."""
    if path.endswith("/.") or path == ".":
        return "."
    return "/" if _plain(path) == "/" else posixpath.basename(_plain(path))


def _plain(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _shown(path: str) -> str:
    return path.rstrip("/") or "/"


@contextmanager
def resolved(root: Root, path: str, container: str, *, folder: bool = True) -> Iterator[tuple[int, str]]:
    """An O_PATH descriptor of what `path` means and the name it goes by in an archive. ``folder``: a path that ends
    as a directory's must be one."""
    follow = path.endswith(("/", "/."))
    try:
        fd = root.resolve(_plain(path), follow=follow)
    except FileNotFoundError:
        raise NotFound(f"Could not find the file {_shown(path)} in container {container}") from None
    except NotADirectoryError:
        raise InvalidParameter(f"lstat {path}: not a directory" if folder else
                               "extraction point is not a directory") from None
    except OSError as error:
        kind = InvalidParameter if error.errno in _PATH_ERRORS else EngineFailure
        raise kind(f"{path}: {error.strerror}") from None
    try:
        if folder and follow and _plain(path) != "/" and not modes.S_ISDIR(os.fstat(fd).st_mode):
            raise InvalidParameter(f"lstat {path}: not a directory")
        yield fd, base_name(path)
    finally:
        os.close(fd)


@contextmanager
def reopened(fd: int, flags: int) -> Iterator[int]:
    """An O_PATH descriptor opened for real; the file itself was resolved safely already."""
    opened = os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)
