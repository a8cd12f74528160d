"""Compressing rotated log files (log opt `compress`): in the server, one file at a time, never in a container's way.

The monitor tells of each rotation. A thread makes the compressed copy beside the log; whoever gives the log's files
their names then puts it in place: the monitor while the container runs, else this server (launcher/log.py, `settle`).
A rotation that comes in between just moves the original on. Files that were rotated while no server was there are
found when one comes.

A compressed file is gzip (RFC 1952) with an extra field, so a reader knows of which file it is the copy, and with the
original's modification time::

    1f 8b 08 04 │ 0 0 0 0 00 ff │ 12 │ "K" "i" 8 │ inode, 8 bytes, little end │ deflate │ CRC-32 │ size
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from kist.engine import logdrivers
from kist.launcher.client import LaunchError, settle

if TYPE_CHECKING:
    from kist.engine.container import Container
    from kist.engine.parts import Parts

isal_zlib: Any
UNREADABLE: tuple[type[Exception], ...] = (OSError, zlib.error)
try:
    from isal import isal_zlib

    UNREADABLE += (isal_zlib.error,)
except ImportError:  # no wheel for this machine
    isal_zlib = zlib

log = logging.getLogger(__name__)
PRESSED = ".gz"
COPY = ".press"  # behind the log's name: a copy in the making; each has a name of its own
_CHUNK = 1 << 20
_RAW, _LEVEL = -15, 2  # window bits: no header of zlib's own
_HEAD = bytes.fromhex("1f8b0804 00000000 00ff 0c00") + b"Ki\x08\x00"


class LogPress:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._waiting: dict[str, Container] = {}
        self._task: asyncio.Task[None] | None = None

    def rotated(self, container: Container) -> None:
        """The container's log may have files to compress; nothing happens if it doesn't ask for that."""
        files = logdrivers.kept(container.record.host["LogConfig"])
        if files is None or not logdrivers.limits(files, self._parts.config).compress:
            return
        self._waiting[container.id] = container
        if self._task is None or self._task.done():
            self._task = self._parts.background.spawn(self._run(), "compressing logs")

    async def _run(self) -> None:
        while self._waiting:
            container = self._waiting.pop(next(iter(self._waiting)))
            try:
                await self._press(container)
            except OSError as error:
                log.warning("compressing the log of container %s: %s", container.id, error)

    async def _press(self, container: Container) -> None:
        path = self._parts.places.log_path(container.record)
        for name in await asyncio.to_thread(rotated_files, path):
            with suppress(FileNotFoundError), open(name, "rb") as source:  # open, so nobody else gets its inode number
                copy = f"{path}{COPY}{time.time_ns()}"
                await asyncio.to_thread(press, source, copy)
                await self._settle(container, path, os.fstat(source.fileno()).st_ino, copy)

    async def _settle(self, container: Container, path: str, inode: int, copy: str) -> None:
        kept = logdrivers.kept(container.record.host["LogConfig"])
        files = logdrivers.limits(kept, self._parts.config).files if kept else 1
        async with container.lock:  # nobody starts it meanwhile
            link = container.link
            if link is not None:
                with suppress(LaunchError, ConnectionError):
                    await link.pressed(inode, copy)
                    return
            if link is None or link.exited.done():
                await asyncio.to_thread(settle, path, files, inode, copy)
            else:  # its monitor may still be there: what is left is compressed at the next occasion
                await asyncio.to_thread(_unlink, copy)


def rotated_files(path: str) -> list[str]:
    """The rotated files that aren't compressed, oldest first. Copies that a server left which was killed are removed
    (if a monitor was asked to put one in its place, it finds it gone, or has done so)."""
    folder, base = os.path.split(path)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:  # it never ran, or is removed
        return []
    for name in names:
        if name.startswith(base + COPY):
            _unlink(f"{folder}/{name}")
    numbers = [name[len(base) + 1:] for name in names if name.startswith(base + ".")]
    return [f"{path}.{number}" for number in sorted(filter(str.isdecimal, numbers), key=int, reverse=True)]


def press(source: BinaryIO, copy: str) -> None:
    """Make a compressed copy of a rotated file. Raises OSError."""
    try:
        with open(copy, "xb", opener=lambda path, flags: os.open(path, flags, 0o640)) as target:
            status = os.fstat(source.fileno())
            target.write(_HEAD + status.st_ino.to_bytes(8, "little"))
            squeeze, mark, size = isal_zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW), 0, 0
            while data := source.read(_CHUNK):
                target.write(squeeze.compress(data))
                mark, size = zlib.crc32(data, mark), size + len(data)
            target.write(squeeze.flush() + mark.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"))
            target.flush()
            os.utime(target.fileno(), ns=(status.st_mtime_ns, status.st_mtime_ns))
            os.fsync(target.fileno())
    except BaseException:
        _unlink(copy)
        raise


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def origin(fd: int) -> int | None:
    """The inode number of the file that this compressed one is the copy of, if that is known. Raises OSError."""
    head = os.pread(fd, len(_HEAD) + 8, 0)
    return int.from_bytes(head[len(_HEAD):], "little") if head.startswith(_HEAD) else None


def unpack(fd: int, folder: str) -> int:
    """The content as an unlinked file in the folder, read from its start. Raises one of UNREADABLE."""
    target = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        inflate = isal_zlib.decompressobj(31)
        while data := os.read(fd, _CHUNK):
            while data:
                _write_all(target, inflate.decompress(data, _CHUNK))
                data = inflate.unconsumed_tail
        _write_all(target, inflate.flush())
        os.lseek(target, 0, os.SEEK_SET)
    except BaseException:
        os.close(target)
        raise
    return target


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data):]
