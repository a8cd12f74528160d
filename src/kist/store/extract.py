"""Make a layer's files from its tar (image-spec 1.1, layer.md), as root, from a stranger's archive.

Safety: every entry is made by its last name in a directory that is held open, without following a link
there; the directory itself is found by `openat2(RESOLVE_IN_ROOT)`, so that neither ``..`` nor absolute
names nor links, however they are stacked, lead out of the layer (`_Directories`). All of this happens in a
directory of the store that only root can enter and that nothing else changes meanwhile.

What is made of what (as Docker does; docs/security.md):

- ``.wh.NAME`` becomes overlayfs' whiteout (character device 0:0), ``.wh..wh..opq`` the attribute
  ``trusted.overlay.opaque`` of its directory; other ``.wh..wh.…`` names are AUFS' own and left out.
- Device nodes are made: base images have /dev/null and the like. They give nothing away: the layer's
  directory is root's alone, and inside of a container the device cgroup decides what may be opened.
- Of extended attributes ``user.…``, ``security.capability`` and POSIX ACLs are kept. The others belong to the
  host; ``trusted.overlay.…`` above all, which steer overlayfs itself.
- A hard link may name a file of a lower layer: it is then copied up, as overlayfs does for link(2).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from kist.linux.openat2 import Root
from kist.store import lower
from kist.store.dirs import Directories
from kist.store.errors import InvalidLayer, storage_error
from kist.store.tarformat import (
    BLOCKDEV,
    CHARDEV,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
    show,
)
from kist.store.tarread import CHUNK, TarReader
from kist.store.trash import remove_tree

WHITEOUT = b".wh."
WHITEOUT_META = b".wh..wh."
OPAQUE = b".wh..wh..opq"
OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"

#: Entries that a layer may have unless the caller says otherwise.
DEFAULT_LIMIT_ENTRIES = 4_000_000
#: Hard links to files of lower layers: each is remembered until those are known.
MAX_LATE_LINKS = 100_000
#: Longest path and component that Linux takes, in bytes.
PATH_MAX, NAME_MAX = 4096, 255
_LARGEST_ID = (1 << 32) - 2
_LARGEST_TIME = (1 << 63) - 1
_CREATE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC
#: Beginnings of the extended attributes that layers carry.
KEPT_ATTRIBUTES = ("user.", "security.capability", "system.posix_acl_access", "system.posix_acl_default")
#: What the kernel answers to a layer that doesn't fit together, rather than to a disk that fails.
_LAYERS_FAULT = {errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR, errno.EMLINK,
                 errno.ENOENT, errno.EXDEV, errno.E2BIG, errno.ERANGE, errno.ENOTEMPTY, errno.EOVERFLOW}


class Extractor:
    """Unpacks one layer below *root*; `unpack` the archive, then `finish` once the lower layers are there.

    After it, `size` is the sum of the files' and links' sizes in bytes and `entries` the number of entries.
    """

    def __init__(self, root: str, *, limit_entries: int | None = None) -> None:
        self._root = Root.at(root)
        self._dirs = Directories(self._root)
        self._limit_entries = DEFAULT_LIMIT_ENTRIES if limit_entries is None else limit_entries
        self._times: dict[bytes, int] = {}                      # directories' times, set at the very end
        self._links: list[tuple[bytes, bytes]] = []             # hard links whose target isn't in this layer
        self._me = (os.geteuid(), os.getegid())
        self._archive: TarReader | None = None
        self.size = 0
        self.entries = 0

    def close(self) -> None:
        self._dirs.close()
        self._root.close()

    def __enter__(self) -> Extractor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def unpack(self, archive: TarReader) -> None:
        """Make every file of *archive*. Raises `InvalidLayer`, `TarError`, `DiskFull`, `StorageFailure`."""
        self._archive = archive
        for entry in archive:
            self.entries += 1
            if self.entries > self._limit_entries:
                raise InvalidLayer(f"more than {self._limit_entries} entries")
            try:
                self._make(entry)
            except OSError as error:
                raise _error(entry.name, error) from error
        self._dirs.forget()

    def finish(self, lowers: Sequence[str]) -> None:
        """Do what needs the lower layers (*lowers*: their roots, the uppermost first), and set times."""
        for name, target in self._links:
            try:
                self._late_link(name, target, lowers)
            except OSError as error:
                raise _error(name, error) from error
        try:
            self._adopt_implied(lowers)
            self._set_times()
        except OSError as error:
            raise _error(b"", error) from error

    # -- one entry -----------------------------------------------------------------------------------

    def _make(self, entry: Entry) -> None:
        path = clean(entry.name)
        if not path:
            self._root_entry(entry)
            return
        parent, _, name = path.rpartition(b"/")
        if len(name) > NAME_MAX or len(path) > PATH_MAX:
            raise InvalidLayer("name too long", entry.name)
        if name.startswith(WHITEOUT):
            self._whiteout(parent, name, entry)
            return
        if parent.startswith(WHITEOUT_META) or b"/" + WHITEOUT_META in parent:
            return
        if not (entry.uid <= _LARGEST_ID and entry.gid <= _LARGEST_ID and entry.uid >= 0 and entry.gid >= 0):
            raise InvalidLayer(f"owner {entry.uid}:{entry.gid} out of range", entry.name)
        directory = self._dirs.open(parent)
        try:
            _MAKERS[entry.type](self, directory, name, path, entry)
        except FileExistsError:
            self._replace(directory, name, path, entry)

    def _replace(self, directory: int, name: bytes, path: bytes, entry: Entry) -> None:
        """The name is taken, by an earlier entry or a whiteout: the later entry wins."""
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
        _MAKERS[entry.type](self, directory, name, path, entry)
        if entry.type == DIRECTORY and _is_whiteout(found):
            # What the whiteout hid must not shine through the new directory.
            os.setxattr(self._dirs.open(path), OPAQUE_ATTRIBUTE, b"y")

    def _root_entry(self, entry: Entry) -> None:
        """``./``: the attributes of the layer's own root."""
        if entry.type != DIRECTORY:
            raise InvalidLayer("the root must be a directory", entry.name)
        fd = self._root.open("/", os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._dress(fd, entry)
        finally:
            os.close(fd)
        self._times[b""] = bounded_time(entry.mtime)

    def _regular(self, directory: int, name: bytes, path: bytes, entry: Entry) -> None:
        assert self._archive is not None
        fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
        try:
            size = entry.size
            while size:
                piece = self._archive.read(CHUNK)
                size -= len(piece)
                while (written := os.write(fd, piece)) < len(piece):
                    piece = piece[written:]
            self._dress(fd, entry)
            mtime = bounded_time(entry.mtime)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)
        self.size += entry.size

    def _directory(self, directory: int, name: bytes, path: bytes, entry: Entry) -> None:
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
        if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
            raise InvalidLayer(f"device number {entry.major}:{entry.minor} out of range", entry.name)
        device = 0 if entry.type == FIFO else os.makedev(entry.major, entry.minor)
        os.mknod(name, kind | 0o600, device, dir_fd=directory)
        if (entry.uid, entry.gid) != self._me:
            os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        # The node was just made by this name, in a directory that only this thread changes: not a link.
        os.chmod(name, entry.mode, dir_fd=directory)
        mtime = bounded_time(entry.mtime)
        os.utime(name, ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)

    def _hardlink(self, directory: int, name: bytes, path: bytes, entry: Entry) -> None:
        target = clean(entry.linkname)
        if not target or len(target) > PATH_MAX:
            raise InvalidLayer(f"hard link to {show(entry.linkname)!r}", entry.name)
        try:
            self._link(target, directory, name)
        except PermissionError:
            raise InvalidLayer(f"hard link to {show(target)!r}, which is a directory", entry.name) from None
        except FileNotFoundError:
            self._links.append((path, target))
            if len(self._links) > MAX_LATE_LINKS:
                raise InvalidLayer("too many hard links to files of other layers", entry.name) from None

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

    def _whiteout(self, parent: bytes, name: bytes, entry: Entry) -> None:
        if name == OPAQUE:
            os.setxattr(self._dirs.open(parent), OPAQUE_ATTRIBUTE, b"y")
            return
        if name.startswith(WHITEOUT_META):
            return
        hidden = name[len(WHITEOUT):]
        if hidden in (b"", b".", b".."):
            raise InvalidLayer("whiteout of nothing", entry.name)
        directory = self._dirs.open(parent)
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=directory)
        except FileExistsError:
            # It hides what lies below, not what this layer brings (layer.md#whiteouts).
            path = parent + b"/" + hidden if parent else hidden
            if stat.S_ISDIR(os.stat(hidden, dir_fd=directory, follow_symlinks=False).st_mode):
                os.setxattr(self._dirs.open(path), OPAQUE_ATTRIBUTE, b"y")

    def _link(self, target: bytes, directory: int, name: bytes) -> None:
        """link(2) from *target* of this layer; raises FileNotFoundError if it isn't there."""
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

    def _late_link(self, path: bytes, target: bytes, lowers: Sequence[str]) -> None:
        parent, _, name = path.rpartition(b"/")
        directory = self._dirs.open(parent)
        try:
            os.stat(name, dir_fd=directory, follow_symlinks=False)
            return      # a later entry took the name
        except FileNotFoundError:
            pass
        try:
            self._link(target, directory, name)
            return
        except FileNotFoundError:
            pass
        source = lower.find(lowers, target)
        if source is None:
            raise InvalidLayer(f"hard link to {show(target)!r}, which does not exist", path)
        with source:
            above, _, last = target.rpartition(b"/")
            try:
                self.size += lower.copy_up(source, self._dirs.open(above), last)
            except IsADirectoryError:
                raise InvalidLayer(f"hard link to the directory {show(target)!r}", path) from None
        try:
            self._link(target, self._dirs.open(parent), name)
        except FileExistsError:
            pass        # a link to itself: the copy has brought the name along

    def _adopt_implied(self, lowers: Sequence[str]) -> None:
        """Directories that have no entry of their own, the root too, keep the lower layers' attributes."""
        for path in [b"", *self._dirs.implied]:
            if path in self._times:
                continue
            source = lower.find(lowers, path)
            if source is not None:
                with source:
                    mtime = lower.adopt(source, self._dirs.open(path))
                if mtime is not None:
                    self._times[path] = mtime

    def _set_times(self) -> None:
        for path, mtime in self._times.items():
            try:
                self._set_time(path, mtime)
            except (FileNotFoundError, NotADirectoryError):
                pass    # replaced by a later entry

    def _set_time(self, path: bytes, mtime: int) -> None:
        parent, _, name = path.rpartition(b"/")
        directory = self._root.open(os.fsdecode(parent) or "/", os.O_PATH | os.O_DIRECTORY)
        try:
            os.utime(name or b".", ns=(mtime, mtime), dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(directory)


_MAKERS: dict[bytes, Callable[[Extractor, int, bytes, bytes, Entry], None]] = {
    REGULAR: Extractor._regular, DIRECTORY: Extractor._directory, SYMLINK: Extractor._symlink,
    HARDLINK: Extractor._hardlink, CHARDEV: Extractor._node, BLOCKDEV: Extractor._node, FIFO: Extractor._node,
}


def clean(name: bytes) -> bytes:
    """*name* relative to the root, without empty, ``.`` and ``..`` parts; raises `InvalidLayer`."""
    if name[:2] == b"./":
        name = name[2:]
    if name[-1:] == b"/":
        name = name[:-1]
    if not (name[:1] in (b".", b"/") or b"/." in name or b"//" in name or b"\0" in name):
        return name
    if b"\0" in name:
        raise InvalidLayer("NUL in a name", name)
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidLayer("outside of the layer", name)
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def bounded_time(mtime: int) -> int:
    """A time that every file system takes; nonsense becomes 1970, as in Docker."""
    return mtime if 0 <= mtime <= _LARGEST_TIME else 0


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _error(name: bytes, error: OSError) -> Exception:
    if error.errno in _LAYERS_FAULT:
        words = (error.strerror or str(error)).lower()
        return InvalidLayer(words, name)
    return storage_error(f"write /{show(clean(name))}" if name else "write", error)
