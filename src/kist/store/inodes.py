"""A layer's tar as the inodes of an EROFS image: nothing is unpacked (`unpacking` has the rules, `erofsimage` the
format).

The tree is made in memory, so a hostile name can lead nowhere but within it: "..", absolute names and links are
resolved there, as `openat2(RESOLVE_IN_ROOT)` would. Memory is bounded by the number of entries.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from kist.store import erofsimage, lower
from kist.store.erofsimage import BLOCK, DATA, Node
from kist.store.errors import InvalidLayer, storage_errors
from kist.store.tarformat import BLOCKDEV, CHARDEV, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, Entry
from kist.store.tarread import Source, TarReader
from kist.store.unpacking import KEPT_ATTRIBUTES, OPAQUE_ATTRIBUTE, PATH_MAX, Unpacker, bounded_time, clean, device_of

#: Each entry costs about half a kilobyte of memory until the image is written.
LIMIT_ENTRIES = 1_000_000
_BUFFER = 256 << 10
_MAX_LINKS = 40         # that a look-up follows, as the kernel's
_FORMATS = {REGULAR: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, SYMLINK: stat.S_IFLNK, CHARDEV: stat.S_IFCHR,
            BLOCKDEV: stat.S_IFBLK, FIFO: stat.S_IFIFO}
_ACL_VERSION = b"\2\0\0\0"


class Inodes(Unpacker[Node]):
    """Makes one layer the image at *path*, named by the 16 bytes *uuid*; a directory is a `Node`."""

    def __init__(self, path: str, uuid: bytes, *, limit_entries: int | None = None) -> None:
        super().__init__(LIMIT_ENTRIES if limit_entries is None else min(limit_entries, LIMIT_ENTRIES))
        self._uuid = uuid
        self._known: dict[bytes, Node] = {}
        self.root = Node(stat.S_IFDIR | 0o755)
        self.root.implied = True
        with storage_errors("unpack layer"):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._file: BinaryIO = open(fd, "r+b", buffering=_BUFFER)

    def close(self) -> None:
        with storage_errors("unpack layer"):
            self._file.close()

    def watch(self, source: Source) -> Source:
        """The image begins with the tar as it comes."""
        self._file.seek(DATA)
        return _Kept(source, self._file)

    # -- paths ---------------------------------------------------------------------------------------

    def _directory(self, path: bytes) -> Node:
        found = self._known.get(path)
        if found is None:
            found = self._known[path] = self._resolve(path, make=True)
        return found

    def _forget(self) -> None:
        self._known.clear()

    def _resolve(self, path: bytes, *, make: bool) -> Node:
        """The directory at *path*, links followed inside of the root."""
        node, links = self.root, 0
        parts = path.split(b"/")[::-1]
        while parts:
            part = parts.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                node = node.parent
                continue
            child = node.children.get(part)
            if child is None:
                if not make:
                    raise _error(FileNotFoundError, errno.ENOENT)
                child = self._make_implied(node, part)
            elif child.is_link:
                links += 1
                if links > _MAX_LINKS:
                    raise _error(OSError, errno.ELOOP)
                parts += child.target.split(b"/")[::-1]
                node = self.root if child.target.startswith(b"/") else node
                continue
            if not child.is_directory:
                raise _error(NotADirectoryError, errno.ENOTDIR)
            node = child
        return node

    def _make_implied(self, directory: Node, name: bytes) -> Node:
        self._count_implied()
        node = Node(stat.S_IFDIR | 0o755)
        node.implied = True
        node.parent = directory
        directory.children[name] = node
        return node

    # -- one entry -----------------------------------------------------------------------------------

    def _create(self, directory: Node, name: bytes, path: bytes, entry: Entry, archive: TarReader) -> None:
        if name in directory.children:
            raise _error(FileExistsError, errno.EEXIST)
        node = Node(_FORMATS[entry.type])
        if entry.type == REGULAR:
            node.offset, node.size = DATA + archive.position, entry.size
            self.size += entry.size
        elif entry.type == DIRECTORY:
            node.parent = directory
        elif entry.type == SYMLINK:
            node.target = _target(entry)
            self.size += len(node.target)
        else:
            node.rdev = erofsimage.encode_rdev(*device_of(entry))
        _dress(node, entry)
        directory.children[name] = node
        if entry.type == DIRECTORY:
            self._known[path] = node

    def _replace(self, directory: Node, name: bytes, path: bytes, entry: Entry, archive: TarReader) -> None:
        found = directory.children[name]
        if found.is_directory and entry.type == DIRECTORY:
            _dress(found, entry)
            return
        if entry.type == HARDLINK and self._is_same(found, entry):
            return
        if found.is_directory or found.is_link:
            self._forget()
        del directory.children[name]
        found.links -= 1
        self._add(directory, name, path, entry, archive)
        if entry.type == DIRECTORY and found.is_whiteout:
            # What the whiteout hid must not shine through the new directory.
            self._set_opaque(path)

    def _is_same(self, found: Node, entry: Entry) -> bool:
        try:
            return self._named(clean(entry.linkname)) is found
        except OSError:
            return False

    def _root_entry(self, entry: Entry) -> None:
        _dress(self.root, entry)

    def _named(self, path: bytes) -> Node:
        """What is at *path*, a link itself; FileNotFoundError if there is nothing."""
        parent, _, last = path.rpartition(b"/")
        found = self._resolve(parent, make=False).children.get(last)
        if found is None:
            raise _error(FileNotFoundError, errno.ENOENT)
        return found

    def _link(self, target: bytes, directory: Node, name: bytes) -> None:
        found = self._named(target)
        if found.is_whiteout:
            raise _error(FileNotFoundError, errno.ENOENT)
        if name in directory.children:
            raise _error(FileExistsError, errno.EEXIST)
        if found.is_directory:
            raise _error(PermissionError, errno.EPERM)
        found.links += 1
        directory.children[name] = found

    def _set_opaque(self, path: bytes) -> None:
        self._directory(path).xattrs[OPAQUE_ATTRIBUTE] = b"y"

    def _hide(self, directory: Node, hidden: bytes, path: bytes) -> None:
        found = directory.children.get(hidden)
        if found is None:
            directory.children[hidden] = Node(stat.S_IFCHR)
        elif found.is_directory:
            found.xattrs[OPAQUE_ATTRIBUTE] = b"y"

    def _is_taken(self, directory: Node, name: bytes) -> bool:
        return name in directory.children

    # -- the layers below ----------------------------------------------------------------------------

    def _copy_up(self, source: lower.Found, path: bytes) -> int:
        if stat.S_ISDIR(source.stat.st_mode):
            raise _error(IsADirectoryError, errno.EISDIR)
        parent, _, last = path.rpartition(b"/")
        directory = self._directory(parent)
        if last in directory.children:
            raise _error(FileExistsError, errno.EEXIST)
        node = Node(source.stat.st_mode)
        _adopt(node, source)
        if node.is_link:
            node.target, node.xattrs = os.readlink(b"", dir_fd=source.fd), {}
        elif stat.S_ISREG(node.mode):
            node.offset, node.size = self._append(source.path)
        else:
            node.rdev = erofsimage.encode_rdev(os.major(source.stat.st_rdev), os.minor(source.stat.st_rdev))
        directory.children[last] = node
        return node.size

    def _append(self, path: str) -> tuple[int, int]:
        """Copy a file behind the data that is there; its place and its size."""
        offset = -(-self._file.seek(0, os.SEEK_END) // BLOCK) * BLOCK
        self._file.seek(offset)
        with open(path, "rb", buffering=0) as data:
            while piece := data.read(1 << 20):
                self._file.write(piece)
        return offset, self._file.tell() - offset

    def _end(self, lowers: Sequence[str]) -> None:
        for path, directory in self._implied():
            source = lower.find(lowers, path)
            if source is not None:
                with source:
                    if stat.S_ISDIR(source.stat.st_mode):
                        _adopt(directory, source)
        erofsimage.finish(self._file, self.root, self._uuid)
        self._file.flush()

    def _implied(self) -> Iterator[tuple[bytes, Node]]:
        """The directories without an entry of their own, with their paths; the lower layers have no longer paths."""
        waiting = [(b"", self.root)]
        while waiting:
            path, directory = waiting.pop()
            if directory.implied:
                yield path, directory
            if len(path) <= PATH_MAX:
                waiting += [(path + b"/" + name if path else name, node)
                            for name, node in directory.children.items() if node.is_directory]


class _Kept:
    """Writes what is read to *file*."""

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self._source, self._file = source, file

    def read(self, size: int = -1, /) -> bytes:
        piece = self._source.read(size)
        with storage_errors("unpack layer"):
            self._file.write(piece)
        return piece


def _error(kind: type[OSError], number: int) -> OSError:
    return kind(number, os.strerror(number))


def _target(entry: Entry) -> bytes:
    if not entry.linkname:
        raise InvalidLayer("symbolic link to nothing", entry.name)
    if len(entry.linkname) >= PATH_MAX:
        raise _error(OSError, errno.ENAMETOOLONG)
    if b"\0" in entry.linkname:
        raise InvalidLayer("NUL in a link's target", entry.name)
    return entry.linkname


def _dress(node: Node, entry: Entry) -> None:
    """Owner, mode, time and attributes as the entry says; an opaque directory stays one."""
    node.mode = stat.S_IFMT(node.mode) | (0o777 if node.is_link else entry.mode)
    node.uid, node.gid, node.mtime = entry.uid, entry.gid, bounded_time(entry.mtime)
    node.implied = False
    if entry.xattrs and stat.S_IFMT(node.mode) in (stat.S_IFREG, stat.S_IFDIR):
        for key, value in entry.xattrs.items():
            if key.startswith(KEPT_ATTRIBUTES):
                _check_attribute(key, value)
                node.xattrs[key] = value
        erofsimage.encode_attributes(node.xattrs)


def _check_attribute(key: str, value: bytes) -> None:
    """What the kernel would refuse to set, it must not read from an image."""
    name = key.partition(".")[2]
    wrong = not name or "\0" in name
    if key.startswith("system.posix_acl_"):
        wrong = value[:4] != _ACL_VERSION or len(value) % 8 != 4
    if wrong:
        raise _error(OSError, errno.EINVAL)


def _adopt(node: Node, source: lower.Found) -> None:
    """Take over what a lower layer's file has, but its type."""
    found = source.stat
    node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(found.st_mode)
    node.uid, node.gid, node.mtime = found.st_uid, found.st_gid, found.st_mtime_ns
    if stat.S_IFMT(found.st_mode) in (stat.S_IFREG, stat.S_IFDIR):
        node.xattrs |= {key: os.getxattr(source.path, key) for key in os.listxattr(source.path)
                        if key.startswith(KEPT_ATTRIBUTES)}
