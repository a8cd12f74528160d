"""A file or a tree of a container as a tar: what cp takes out."""

from __future__ import annotations

import os
import stat as modes

from kist.engine.filepaths import reopened, resolved
from kist.errors import InvalidParameter
from kist.linux.openat2 import Root
from kist.store import tree
from kist.store.tarformat import BLOCKDEV, CHARDEV, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, Entry
from kist.store.tarwrite import Sink, TarWriter

_CHUNK = 1 << 18
_NODES = {modes.S_IFIFO: FIFO, modes.S_IFCHR: CHARDEV, modes.S_IFBLK: BLOCKDEV}


def pack(root: Root, path: str, sink: Sink) -> None:
    with resolved(root, path, "") as (fd, name):
        info = os.fstat(fd)
        if modes.S_ISDIR(info.st_mode):
            writer: TarWriter = _Rebased(sink, name)
            writer.add(_entry(b"", DIRECTORY, info))
            with reopened(fd, os.O_RDONLY | os.O_DIRECTORY) as directory:
                tree.export(directory, writer, kernels=False)
        else:
            writer = TarWriter(sink)
            _pack_file(fd, name, info, writer)
        writer.close()


def _pack_file(fd: int, name: str, info: os.stat_result, writer: TarWriter) -> None:
    raw = os.fsencode(name)
    if modes.S_ISLNK(info.st_mode):
        entry = _entry(raw, SYMLINK, info)
        entry.linkname = os.fsencode(os.readlink("", dir_fd=fd))
        writer.add(entry)
    elif modes.S_ISREG(info.st_mode):
        with reopened(fd, os.O_RDONLY) as file:
            entry = _entry(raw, REGULAR, info)
            entry.size = left = os.fstat(file).st_size
            writer.add(entry)
            while left:
                piece = os.read(file, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
                writer.write(piece)
                left -= len(piece)
    elif modes.S_IFMT(info.st_mode) in _NODES:
        entry = _entry(raw, _NODES[modes.S_IFMT(info.st_mode)], info)
        entry.major, entry.minor = os.major(info.st_rdev), os.minor(info.st_rdev)
        writer.add(entry)
    else:
        raise InvalidParameter(f"{name}: sockets have no place in an archive")


def _entry(name: bytes, kind: bytes, info: os.stat_result) -> Entry:
    return Entry(name, kind, mode=modes.S_IMODE(info.st_mode), uid=info.st_uid, gid=info.st_gid,
                 mtime=info.st_mtime_ns)


class _Rebased(TarWriter):
    """Puts all names below another one."""

    def __init__(self, sink: Sink, base: str) -> None:
        super().__init__(sink)
        self._base = b"" if base == "/" else os.fsencode(base)

    def add(self, entry: Entry) -> None:
        below = self._base + b"/" + entry.name if entry.name else self._base or b"/"
        entry.name = below
        if entry.type == HARDLINK:
            entry.linkname = self._base + b"/" + entry.linkname
        super().add(entry)
