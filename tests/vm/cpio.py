"""An initramfs in cpio's "newc" form, without compression (kernel: driver-api/early-userspace/buffer-format).

    per file:  magic "070701", 13 numbers of 8 hex digits, name NUL (pad to 4), data (pad to 4)
    the last:  a file named "TRAILER!!!"
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class Archive:
    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self.names: set[str] = set()
        self.inode = 0

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        name = name.strip("/")
        if name in self.names:
            return
        parent = os.path.dirname(name)
        if parent and parent not in self.names:
            self.add(parent, stat.S_IFDIR | 0o755)
        self.names.add(name)
        self._entry(name, mode, data, device)

    def _entry(self, name: str, mode: int, data: bytes, device: tuple[int, int]) -> None:
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self.out.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def file(self, source: Path, name: str | None = None) -> None:
        """A file or link of this machine, with its mode, at the same place unless told otherwise."""
        name = name or str(source)
        info = source.lstat()
        if stat.S_ISLNK(info.st_mode):
            self.add(name, stat.S_IFLNK | 0o777, os.readlink(source).encode())
        else:
            self.add(name, stat.S_IFREG | stat.S_IMODE(info.st_mode), source.read_bytes())

    def tree(self, source: Path, name: str, skip: frozenset[str] = frozenset()) -> None:
        for path in sorted(source.rglob("*")):
            parts = path.relative_to(source).parts
            if skip & set(parts) or (path.is_dir() and not path.is_symlink()):
                continue
            self.file(path, f"{name}/{'/'.join(parts)}")

    def close(self) -> None:
        self._entry("TRAILER!!!", 0, b"", (0, 0))
