"""What a layer's tar means (image-spec 1.1, layer.md), whatever its files become: the rules that every unpacker keeps.

- ``.wh.NAME`` hides NAME of the layers below, ``.wh..wh..opq`` all of a directory's entries there; other
  ``.wh..wh.…`` names are AUFS' own and left out.
- A later entry takes the place of an earlier one; a directory stays, with the later entry's attributes.
- A hard link may name a file of a lower layer: it is then copied up, as overlayfs does for link(2).

`extract.Extractor` makes files, `erofs.inodes.Inodes` the inodes of a file system image. Both raise OSError with
link(2)'s and mkdir(2)'s own numbers; here they become the layer's fault, or the disk's.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Self, TypeVar

from kist.store import lower
from kist.store.errors import InvalidLayer, storage_error
from kist.store.tarformat import DIRECTORY, FIFO, HARDLINK, Entry, show
from kist.store.tarread import Source, TarReader

WHITEOUT = b".wh."
WHITEOUT_META = b".wh..wh."
OPAQUE = b".wh..wh..opq"
OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"

#: Entries that a layer may have unless the caller says otherwise.
DEFAULT_LIMIT_ENTRIES = 4_000_000
#: Hard links to files of lower layers: each is remembered until those are known.
MAX_LATE_LINKS = 100_000
#: Directories without an entry of their own: one entry may name two thousand of them.
MAX_IMPLIED = 200_000
#: Longest path and component that Linux takes, in bytes.
PATH_MAX, NAME_MAX = 4096, 255
_LARGEST_ID = (1 << 32) - 2
_LARGEST_TIME = (1 << 63) - 1
#: Beginnings of the extended attributes that layers carry. The others belong to the host; ``trusted.overlay.…``
#: above all, which steer overlayfs itself.
KEPT_ATTRIBUTES = ("user.", "security.capability", "system.posix_acl_access", "system.posix_acl_default")
#: What the kernel answers to a layer that doesn't fit together, rather than to a disk that fails.
_LAYERS_FAULT = {errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR, errno.EMLINK,
                 errno.ENOENT, errno.EXDEV, errno.E2BIG, errno.ERANGE, errno.ENOTEMPTY, errno.EOVERFLOW}

D = TypeVar("D")


class Unpacker(ABC, Generic[D]):
    """Takes in one layer: `unpack` its archive, then `finish` once the lower layers are there.

    After it, `size` is the sum of the files' and links' sizes in bytes and `entries` the number of entries.
    *D* is what an unpacker calls a directory. *plain*: a tree that is no layer, names with ``.wh.`` mean nothing in it.
    """

    def __init__(self, limit_entries: int | None = None, *, plain: bool = False) -> None:
        self._plain = plain
        self._limit_entries = DEFAULT_LIMIT_ENTRIES if limit_entries is None else limit_entries
        self._links: list[tuple[bytes, bytes]] = []     # hard links whose target isn't in this layer
        self._implied_count = 0
        self.size = 0
        self.entries = 0

    def watch(self, source: Source) -> Source:
        """The archive's bytes, for an unpacker that wants to see them itself."""
        return source

    def close(self) -> None:
        """Give free what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def unpack(self, archive: TarReader) -> None:
        """Take every entry of *archive*. Raises `InvalidLayer`, `TarError`, `DiskFull`, `StorageFailure`."""
        for entry in archive:
            self.entries += 1
            if self.entries > self._limit_entries:
                raise InvalidLayer(f"more than {self._limit_entries} entries")
            try:
                self._take(entry, archive)
            except OSError as error:
                raise fault(entry.name, error) from error
        self._forget()

    def finish(self, lowers: Sequence[str]) -> None:
        """Do what needs the lower layers (*lowers*: their roots, the uppermost first), and what comes last."""
        for name, target in self._links:
            try:
                self._late_link(name, target, lowers)
            except OSError as error:
                raise fault(name, error) from error
        try:
            self._end(lowers)
        except OSError as error:
            raise fault(b"", error) from error

    # -- what an unpacker does -----------------------------------------------------------------------

    @abstractmethod
    def _directory(self, path: bytes) -> D:
        """The directory at the cleaned *path*, links followed inside of the layer; made (0755) where missing."""

    @abstractmethod
    def _create(self, directory: D, name: bytes, path: bytes, entry: Entry, archive: TarReader) -> None:
        """Make what *entry* says, but links; FileExistsError if the name is taken."""

    @abstractmethod
    def _replace(self, directory: D, name: bytes, path: bytes, entry: Entry, archive: TarReader) -> None:
        """The name is taken, by an earlier entry or a whiteout: the later entry wins."""

    @abstractmethod
    def _link(self, target: bytes, directory: D, name: bytes) -> None:
        """link(2) from *target* of this layer; FileNotFoundError if it isn't there."""

    @abstractmethod
    def _root_entry(self, entry: Entry) -> None:
        """``./``: the attributes of the layer's own root."""

    @abstractmethod
    def _set_opaque(self, path: bytes) -> None:
        """Let the directory at *path* hide the entries of those below it."""

    @abstractmethod
    def _hide(self, directory: D, hidden: bytes, path: bytes) -> None:
        """Make overlayfs' whiteout; where this layer brings a directory of that name, make it opaque."""

    @abstractmethod
    def _is_taken(self, directory: D, name: bytes) -> bool: ...

    @abstractmethod
    def _copy_up(self, source: lower.Found, path: bytes) -> int:
        """Copy a lower layer's file to *path*; the bytes it has. IsADirectoryError for directories."""

    @abstractmethod
    def _end(self, lowers: Sequence[str]) -> None:
        """Directories that have no entry of their own, the root too, keep the lower layers' attributes."""

    @abstractmethod
    def _forget(self) -> None:
        """Something on a path was replaced: resolve all of them again."""

    # -- the rules -----------------------------------------------------------------------------------

    def _take(self, entry: Entry, archive: TarReader) -> None:
        path = clean(entry.name)
        if not path:
            if entry.type != DIRECTORY:
                raise InvalidLayer("the root must be a directory", entry.name)
            self._root_entry(entry)
            return
        parent, _, name = path.rpartition(b"/")
        if len(name) > NAME_MAX or len(path) > PATH_MAX:
            raise InvalidLayer("name too long", entry.name)
        if not self._plain and name.startswith(WHITEOUT):
            self._whiteout(parent, name, entry)
            return
        if not self._plain and (parent.startswith(WHITEOUT_META) or b"/" + WHITEOUT_META in parent):
            return
        if not (entry.uid <= _LARGEST_ID and entry.gid <= _LARGEST_ID and entry.uid >= 0 and entry.gid >= 0):
            raise InvalidLayer(f"owner {entry.uid}:{entry.gid} out of range", entry.name)
        directory = self._directory(parent)
        try:
            self._add(directory, name, path, entry, archive)
        except FileExistsError:
            self._replace(directory, name, path, entry, archive)

    def _add(self, directory: D, name: bytes, path: bytes, entry: Entry, archive: TarReader) -> None:
        if entry.type == HARDLINK:
            self._hardlink(directory, name, path, entry)
        else:
            self._create(directory, name, path, entry, archive)

    def _count_implied(self) -> None:
        self._implied_count += 1
        if self._implied_count > MAX_IMPLIED:
            raise InvalidLayer(f"more than {MAX_IMPLIED} directories without an entry of their own")

    def _hardlink(self, directory: D, name: bytes, path: bytes, entry: Entry) -> None:
        target = clean(entry.linkname)
        if not target or len(target) > PATH_MAX:
            raise InvalidLayer(f"hard link to {show(entry.linkname)!r}", entry.name)
        try:
            self._link(target, directory, name)
        except PermissionError:
            raise _link_to_directory(target, entry.name) from None
        except FileNotFoundError:
            self._links.append((path, target))
            if len(self._links) > MAX_LATE_LINKS:
                raise InvalidLayer("too many hard links to files of other layers", entry.name) from None

    def _whiteout(self, parent: bytes, name: bytes, entry: Entry) -> None:
        if name == OPAQUE:
            self._set_opaque(parent)
            return
        if name.startswith(WHITEOUT_META):
            return
        hidden = name[len(WHITEOUT):]
        if hidden in (b"", b".", b".."):
            raise InvalidLayer("whiteout of nothing", entry.name)
        # It hides what lies below, not what this layer brings (layer.md#whiteouts).
        self._hide(self._directory(parent), hidden, parent + b"/" + hidden if parent else hidden)

    def _late_link(self, path: bytes, target: bytes, lowers: Sequence[str]) -> None:
        parent, _, name = path.rpartition(b"/")
        directory = self._directory(parent)
        if self._is_taken(directory, name):
            return      # a later entry took the name
        try:
            self._link(target, directory, name)
            return
        except PermissionError:
            raise _link_to_directory(target, path) from None
        except FileNotFoundError:
            pass
        source = lower.find(lowers, target)
        if source is None:
            raise InvalidLayer(f"hard link to {show(target)!r}, which does not exist", path)
        with source:
            try:
                self.size += self._copy_up(source, target)
            except IsADirectoryError:
                raise InvalidLayer(f"hard link to the directory {show(target)!r}", path) from None
        try:
            self._link(target, self._directory(parent), name)
        except FileExistsError:
            pass        # a link to itself: the copy has brought the name along


def _link_to_directory(target: bytes, name: bytes) -> InvalidLayer:
    return InvalidLayer(f"hard link to {show(target)!r}, which is a directory", name)


def clean(name: bytes) -> bytes:
    """*name* relative to the root, without empty, ``.`` and ``..`` parts; raises `InvalidLayer`."""
    if name[:2] == b"./":
        name = name[2:]
    if name[-1:] == b"/":
        name = name.rstrip(b"/")
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


def device_of(entry: Entry) -> tuple[int, int]:
    """Major and minor number of a node, 0:0 of a FIFO. Raises `InvalidLayer` where Linux has no such device."""
    if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
        raise InvalidLayer(f"device number {entry.major}:{entry.minor} out of range", entry.name)
    return (0, 0) if entry.type == FIFO else (entry.major, entry.minor)


def fault(name: bytes, error: OSError) -> Exception:
    """Whose fault *error* is, which came up at the entry *name* (``b""``: at the end)."""
    if error.errno in _LAYERS_FAULT:
        words = (error.strerror or str(error)).lower()
        return InvalidLayer(words, name)
    return storage_error(f"write /{show(clean(name))}" if name else "write", error)
