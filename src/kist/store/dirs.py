"""Directories of a layer that is being unpacked, found by path and held open (a bounded number of them).

A path is resolved by `openat2(RESOLVE_IN_ROOT)` once; the files of one directory come one after the other
in real archives, so nearly every look-up is a hit in a dict.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from kist.linux.openat2 import Root

#: Descriptors that one layer may hold open.
MAX_OPEN = 96
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Directories:
    """Open directories below *root* by their cleaned relative path (``b""`` is the root).

    `implied` holds the paths that had to be made because an entry lies in them; *count* is told of each before.
    """

    def __init__(self, root: Root, count: Callable[[], None]) -> None:
        self._root, self._count = root, count
        self._open: dict[bytes, int] = {}
        self.implied: list[bytes] = []

    def open(self, path: bytes) -> int:
        """A descriptor of the directory, made (0755) where missing. It stays this object's."""
        fd = self._open.get(path)
        if fd is None:
            fd = self._resolve(path)
            self.keep(path, fd)
        return fd

    def keep(self, path: bytes, fd: int) -> None:
        """Take over *fd*, which is the directory at *path*."""
        if path in self._open:
            os.close(self._open.pop(path))
        elif len(self._open) >= MAX_OPEN:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = fd

    def forget(self) -> None:
        """Something on a path was replaced: resolve all of them again."""
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    close = forget

    def _resolve(self, path: bytes) -> int:
        try:
            return self._root.open(os.fsdecode(path) or "/", _DIRECTORY)
        except FileNotFoundError:
            return self._make(path)

    def _make(self, path: bytes) -> int:
        parent, _, name = path.rpartition(b"/")
        directory = self.open(parent)
        self._count()
        try:
            os.mkdir(name, 0o755, dir_fd=directory)
        except FileExistsError:
            # A link that leads to a directory which isn't there (yet): make that one, inside of the root.
            os.close(self._root.mkdirs(os.fsdecode(path)))
        else:
            fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.fchmod(fd, 0o755)
            self.implied.append(path)
            return fd
        return self._root.open(os.fsdecode(path), _DIRECTORY)
