"""Make a layer's files from its tar, as root, from a stranger's archive (`unpacking` has the rules).

Safety: every entry is made by its last name in a directory that is held open, without following a link
there; the directory itself is found by `openat2(RESOLVE_IN_ROOT)`, so that neither ``..`` nor absolute
names nor links, however they are stacked, lead out of the layer (`_Directories`). All of this happens in a
directory of the store that only root can enter and that nothing else changes meanwhile.

What is made of what (as Docker does; docs/security.md):

- Whiteouts become overlayfs' (character device 0:0), opaque directories the attribute ``trusted.overlay.opaque``.
- Device nodes are made: base images have /dev/null and the like. They give nothing away: the layer's
  directory is root's alone, and inside of a container the device cgroup decides what may be opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from kist.linux.openat2 import Root, chmod_node
from kist.store import lower
from kist.store.dirs import Directories
from kist.store.errors import InvalidLayer
from kist.store.tarformat import BLOCKDEV, CHARDEV, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, Entry
from kist.store.tarread import CHUNK, TarReader
from kist.store.trash import remove_tree
from kist.store.unpacking import KEPT_ATTRIBUTES, OPAQUE_ATTRIBUTE, Unpacker, bounded_time, clean, device_of

_OWN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_REPLACED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # a later entry took a directory's name: a link to itself, too
_ZEROS = memoryview(bytes(CHUNK))
_CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC


class Extractor(Unpacker[int]):
    """Unpacks one layer below *root*; a directory is a descriptor. With *plain* it is a tree like any other: zeros
    become holes, too."""

    def __init__(self, root: str, *, limit_entries: int | None = None, plain: bool = False) -> None:
        super().__init__(limit_entries, plain=plain)
        self._root = Root.at(root)
        self._dirs = Directories(self._root, self._count_implied)
        self._times: dict[bytes, int] = {}                      # directories' times, set at the very end
        self._me = (os.geteuid(), os.getegid())

    def close(self) -> None:
        self._dirs.close()
        self._root.close()

    def _directory(self, path: bytes) -> int:
        return self._dirs.open(path)

    def _forget(self) -> None:
        self._dirs.forget()

    def _end(self, lowers: Sequence[str]) -> None:
        self._adopt_implied(lowers)
        self._set_times()

    # -- one entry -----------------------------------------------------------------------------------

    def _create(self, directory: int, name: bytes, path: bytes, entry: Entry, archive: TarReader) -> None:
        if entry.type == REGULAR:
            self._regular(directory, name, entry, archive)
        else:
            _MAKERS[entry.type](self, directory, name, path, entry)

    def _replace(self, directory: int, name: bytes, path: bytes, entry: Entry, archive: TarReader) -> None:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode) and entry.type == DIRECTORY:
            self._dress_directory(directory, name, path, entry)
            return
        if entry.type == HARDLINK and self._same_file(found, entry):
            return
        if stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode):
            # Paths may have led through it.
            self._dirs.forget()
            directory = self._dirs.open(path.rpartition(b"/")[0])
        remove_tree(name, dir_fd=directory)
        self._add(directory, name, path, entry, archive)
        if entry.type == DIRECTORY and _is_whiteout(found):
            # What the whiteout hid must not shine through the new directory.
            self._set_opaque(path)

    def _root_entry(self, entry: Entry) -> None:
        fd = self._root.open("/", os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._dress(fd, entry)
        finally:
            os.close(fd)
        self._times[b""] = bounded_time(entry.mtime)

    def _regular(self, directory: int, name: bytes, entry: Entry, archive: TarReader) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
        try:
            if entry.sparse is None:
                self._write(fd, entry.size, archive)
            else:
                os.ftruncate(fd, entry.size)
                for begin, length in entry.sparse:
                    os.lseek(fd, begin, os.SEEK_SET)
                    self._write(fd, length, archive)
            self._dress(fd, entry)
            mtime = bounded_time(entry.mtime)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)
        self.size += entry.stored

    def _write(self, fd: int, size: int, archive: TarReader) -> None:
        """The next `size` bytes of data at the file's position."""
        at = os.lseek(fd, 0, os.SEEK_CUR)
        while size:
            piece = archive.read(CHUNK)
            size -= len(piece)
            at += len(piece)
            if self._plain and piece == _ZEROS[:len(piece)]:
                os.lseek(fd, at, os.SEEK_SET)
                if not size and os.fstat(fd).st_size < at:
                    os.ftruncate(fd, at)
                continue
            while (written := os.write(fd, piece)) < len(piece):
                piece = piece[written:]

    def _make_directory(self, directory: int, name: bytes, path: bytes, entry: Entry) -> None:
        os.mkdir(name, 0o700, dir_fd=directory)
        self._dress_directory(directory, name, path, entry)

    def _dress_directory(self, directory: int, name: bytes, path: bytes, entry: Entry) -> None:
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            self._dress(fd, entry)
        except BaseException:
            os.close(fd)
            raise
        self._dirs.keep(path, fd)
        self._times[path] = bounded_time(entry.mtime)

    def _symlink(self, directory: int, name: bytes, path: bytes, entry: Entry) -> None:
        if not entry.linkname:
            raise InvalidLayer("symbolic link to nothing", entry.name)
        os.symlink(entry.linkname, name, dir_fd=directory)
        self.size += len(entry.linkname)
        if (entry.uid, entry.gid) != self._me:
            os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        mtime = bounded_time(entry.mtime)
        os.utime(name, ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)

    def _node(self, directory: int, name: bytes, path: bytes, entry: Entry) -> None:
        kind = {CHARDEV: stat.S_IFCHR, BLOCKDEV: stat.S_IFBLK, FIFO: stat.S_IFIFO}[entry.type]
        device = os.makedev(*device_of(entry))
        os.mknod(name, kind | 0o600, device, dir_fd=directory)
        if (entry.uid, entry.gid) != self._me:
            os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        chmod_node(name, entry.mode, directory)
        mtime = bounded_time(entry.mtime)
        os.utime(name, ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)

    # -- helpers -------------------------------------------------------------------------------------

    def _dress(self, fd: int, entry: Entry) -> None:
        """Owner, then mode (chown takes set-id bits away), then attributes (chown takes capabilities away)."""
        if (entry.uid, entry.gid) != self._me:
            os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)
        for key, value in entry.xattrs.items():
            if key.startswith(KEPT_ATTRIBUTES):
                try:
                    os.setxattr(fd, key, value)
                except OSError as error:
                    if error.errno != errno.ENOTSUP:
                        raise

    def _set_opaque(self, path: bytes) -> None:
        os.setxattr(self._dirs.open(path), OPAQUE_ATTRIBUTE, b"y")

    def _hide(self, directory: int, hidden: bytes, path: bytes) -> None:
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=directory)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(hidden, dir_fd=directory, follow_symlinks=False).st_mode):
                self._set_opaque(path)

    def _is_taken(self, directory: int, name: bytes) -> bool:
        try:
            os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _copy_up(self, source: lower.Found, path: bytes) -> int:
        above, _, last = path.rpartition(b"/")
        return lower.copy_up(source, self._dirs.open(above), last)

    def _link(self, target: bytes, directory: int, name: bytes) -> None:
        parent, _, last = target.rpartition(b"/")
        source = self._root.open(os.fsdecode(parent) or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            if _is_whiteout(os.stat(last, dir_fd=source, follow_symlinks=False)):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), target)
            os.link(last, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(source)

    def _same_file(self, found: os.stat_result, entry: Entry) -> bool:
        """Whether the link that *entry* asks for is there already."""
        try:
            target = self._root.stat(os.fsdecode(clean(entry.linkname)), follow=False)
        except OSError:
            return False
        return (target.st_dev, target.st_ino) == (found.st_dev, found.st_ino)

    def _adopt_implied(self, lowers: Sequence[str]) -> None:
        for path in [b"", *self._dirs.implied]:
            if path in self._times:
                continue
            source = lower.find(lowers, path)
            if source is None:
                continue
            with source:
                try:
                    directory = self._root.open(os.fsdecode(path) or "/", _OWN_DIRECTORY)
                except OSError as error:
                    if error.errno in _REPLACED:
                        continue
                    raise
                try:
                    mtime = lower.adopt(source, directory)
                finally:
                    os.close(directory)
            if mtime is not None:
                self._times[path] = mtime

    def _set_times(self) -> None:
        for path, mtime in self._times.items():
            try:
                self._set_time(path, mtime)
            except OSError as error:
                if error.errno not in _REPLACED:
                    raise

    def _set_time(self, path: bytes, mtime: int) -> None:
        parent, _, name = path.rpartition(b"/")
        directory = self._root.open(os.fsdecode(parent) or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            os.utime(name or b".", ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(directory)


_MAKERS: dict[bytes, Callable[[Extractor, int, bytes, bytes, Entry], None]] = {
    DIRECTORY: Extractor._make_directory, SYMLINK: Extractor._symlink, CHARDEV: Extractor._node,
    BLOCKDEV: Extractor._node, FIFO: Extractor._node,
}


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
