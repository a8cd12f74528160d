"""Walks over directory trees that containers wrote: what changed, how much, as a tar.

A container may be writing while we read, and means no good: every directory is opened by `openat2` from the
tree's root without following any link, files without following the last name; what vanishes is left out.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from kist.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2
from kist.linux.statfs import is_made_up
from kist.store import lower, tarsparse
from kist.store.tarformat import (
    BLOCKDEV,
    CHARDEV,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
)
from kist.store.tarwrite import TarWriter
from kist.store.unpacking import KEPT_ATTRIBUTES, OPAQUE, PATH_MAX, WHITEOUT

_INSIDE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_CHUNK = 1 << 20
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
_KINDS = {stat.S_IFREG: REGULAR, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK, stat.S_IFCHR: CHARDEV,
          stat.S_IFBLK: BLOCKDEV, stat.S_IFIFO: FIFO}

ADDED, CHANGED, DELETED = "A", "C", "D"


class Usage(NamedTuple):
    """What a tree holds: `size` in bytes (a file with several links counts once), `entries` files and
    directories."""

    size: int
    entries: int


class Change(NamedTuple):
    """One difference of a container from its image: `kind` is ``A``, ``C`` or ``D``, `path` absolute."""

    kind: str
    path: str


class Node(NamedTuple):
    """A file found on a walk; `directory` is open only until the next step."""

    path: bytes
    name: bytes
    directory: int
    stat: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.stat.st_mode)

    @property
    def is_whiteout(self) -> bool:
        return stat.S_ISCHR(self.stat.st_mode) and self.stat.st_rdev == 0


def walk(root: int, *, kernels: bool = True, strict: bool = True) -> Iterator[Node]:
    """Every file below *root*, each directory before what is in it, names in order. Without what is *kernels*: of
    procfs, sysfs and their like there is the directory that they are mounted on. What lies too deep to be named by a
    path is passed over, as in Docker: nobody could unpack it, and it must not keep the rest from being seen. So are
    directories that can't be opened unless *strict*."""
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        try:
            directory = openat2(root, os.fsdecode(path) or ".", _READ_DIRECTORY, 0, _INSIDE)
        except OSError as error:
            if path and (error.errno in _GONE or not strict):
                continue
            raise
        try:
            if not kernels and is_made_up(directory):
                continue
            below = []
            for name in sorted(map(os.fsencode, os.listdir(directory))):
                try:
                    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                node = Node(path + b"/" + name if path else name, name, directory, found)
                if len(node.path) >= PATH_MAX:
                    continue
                if node.is_directory:
                    below.append(node.path)
                yield node
            waiting += reversed(below)
        finally:
            os.close(directory)


def usage(root: int) -> Usage:
    """The size of a tree as `docker ps --size` counts it."""
    size = entries = 0
    seen: set[tuple[int, int]] = set()
    for node in walk(root):
        entries += 1
        if not stat.S_ISREG(node.stat.st_mode):
            continue
        if node.stat.st_nlink > 1:
            inode = (node.stat.st_dev, node.stat.st_ino)
            if inode in seen:
                continue
            seen.add(inode)
        size += node.stat.st_size
    return Usage(size, entries)


def changes(upper: int, lowers: Sequence[str]) -> list[Change]:
    """What *upper* makes of *lowers* (roots, uppermost first), as `docker diff` lists it."""
    found: dict[bytes, str] = {}
    for node in walk(upper):
        kind = _kind(node, lowers)
        if kind is None:
            continue
        found[node.path] = kind
        parent = node.path.rpartition(b"/")[0]
        if kind != CHANGED and parent:
            found.setdefault(parent, CHANGED)
    return [Change(found[path], "/" + os.fsdecode(path)) for path in sorted(found)]


def _kind(node: Node, lowers: Sequence[str]) -> str | None:
    below = lower.find(lowers, node.path)
    if below is None:
        return None if node.is_whiteout else ADDED
    with below:
        if node.is_whiteout:
            return DELETED
        if node.is_directory and stat.S_ISDIR(below.stat.st_mode) and _same(node.stat, below.stat):
            return None     # copied up only because something in it changed
        return CHANGED


def _same(above: os.stat_result, below: os.stat_result) -> bool:
    keys = ("st_mode", "st_uid", "st_gid", "st_mtime_ns")
    return all(getattr(above, key) == getattr(below, key) for key in keys)


def export(root: int, writer: TarWriter, *, sparse: bool = False, kernels: bool = True) -> None:
    """Write the tree as it is, as `docker export` does; `sparse`: holes stay holes, which not every reader knows."""
    links: dict[tuple[int, int], bytes] = {}
    for node in walk(root, kernels=kernels):
        if not node.is_whiteout:
            _add(node, node.path, writer, links, sparse=sparse)


def layer(upper: int, writer: TarWriter, leave_out: Collection[bytes] = ()) -> None:
    """Write an overlay's upper directory as a layer: whiteouts and opaque directories in OCI's form.

    Empty files and directories at the paths *leave_out* are passed over."""
    links: dict[tuple[int, int], bytes] = {}
    for node in walk(upper):
        parent, slash, name = node.path.rpartition(b"/")
        if name.startswith(WHITEOUT):
            continue    # would be read as a whiteout; no layer can express such a file
        if node.path in leave_out and _is_empty(node):
            continue
        if node.is_whiteout:
            writer.add(Entry(parent + slash + WHITEOUT + name, mode=0, mtime=node.stat.st_mtime_ns))
            continue
        _add(node, node.path, writer, links)
        if node.is_directory and _is_opaque(node):
            writer.add(Entry(node.path + b"/" + OPAQUE, mode=0, mtime=node.stat.st_mtime_ns))


def _is_empty(node: Node) -> bool:
    if not node.is_directory:
        return stat.S_ISREG(node.stat.st_mode) and node.stat.st_size == 0
    fd = os.open(node.name, _READ_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=node.directory)
    try:
        return not os.listdir(fd)
    finally:
        os.close(fd)


def _is_opaque(node: Node) -> bool:
    try:
        fd = os.open(node.name, _READ_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=node.directory)
    except OSError:
        return False
    try:
        return lower.is_opaque(fd)
    finally:
        os.close(fd)


def _add(node: Node, path: bytes, writer: TarWriter, links: dict[tuple[int, int], bytes], *,
         sparse: bool = False) -> None:
    found = node.stat
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return      # sockets have no place in an archive
    entry = Entry(path, kind, mode=stat.S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid,
                  mtime=found.st_mtime_ns)
    if kind != DIRECTORY and found.st_nlink > 1:
        inode = (found.st_dev, found.st_ino)
        if inode in links:
            entry.type, entry.linkname = HARDLINK, links[inode]
            writer.add(entry)
            return
        links[inode] = path
    if kind == SYMLINK:
        try:
            entry.linkname = os.fsencode(os.readlink(node.name, dir_fd=node.directory))
        except OSError as error:
            if error.errno in (*_GONE, errno.EINVAL):   # replaced by something else since it was listed
                return
            raise
    elif kind in (CHARDEV, BLOCKDEV):
        entry.major, entry.minor = os.major(found.st_rdev), os.minor(found.st_rdev)
    if kind in (REGULAR, DIRECTORY):
        _add_opened(node, entry, writer, sparse=sparse)
    else:
        writer.add(entry)


def _open_same(node: Node) -> int | None:
    """A descriptor for reading the file or directory; None if something else has its name now, which then isn't
    opened: it could be a device. (Its number can have been given to a file of another kind.)"""
    try:
        fd = os.open(node.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=node.directory)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    try:
        now, then = os.fstat(fd), node.stat
        if (now.st_dev, now.st_ino, stat.S_IFMT(now.st_mode)) != (then.st_dev, then.st_ino, stat.S_IFMT(then.st_mode)):
            return None
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)


def _add_opened(node: Node, entry: Entry, writer: TarWriter, *, sparse: bool) -> None:
    fd = _open_same(node)
    if fd is None:
        return
    try:
        found = os.fstat(fd)
        entry.xattrs = _attributes(fd)
        entry.size = found.st_size if entry.type == REGULAR else 0
        if sparse and found.st_blocks * 512 < entry.size:
            entry.sparse = tarsparse.segments_of(fd, entry.size)
        writer.add(entry)
        for begin, length in [(0, entry.size)] if entry.sparse is None else entry.sparse:
            os.lseek(fd, begin, os.SEEK_SET)
            _copy(fd, length, writer)
    finally:
        os.close(fd)


def _copy(fd: int, size: int, writer: TarWriter) -> None:
    """The file's bytes; zeros for what was cut off meanwhile, nothing of what was appended."""
    while size:
        piece = os.read(fd, min(size, _CHUNK)) or bytes(min(size, _CHUNK))
        writer.write(piece)
        size -= len(piece)


def _attributes(fd: int) -> dict[str, bytes]:
    try:
        names = os.listxattr(fd)
    except OSError:
        return {}
    found = {}
    for name in names:
        if name.startswith(KEPT_ATTRIBUTES):
            with suppress(OSError):  # removed since it was listed
                found[name] = os.getxattr(fd, name)
    return found
