"""An initramfs in cpio's "newc" form, without compression (kernel: driver-api/early-userspace/buffer-format).

    per file:  magic "070701", 13 numbers of 8 hex digits, name NUL (pad to 4), data (pad to 4)
    the last:  a file named "TRAILER!!!"
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import BinaryIO


class Archive:
    """`root` is where unpacked packages lie: their files count as the machine's own, below the same names."""

    def __init__(self, out: BinaryIO, root: Path | None = None) -> None:
        self.out = out
        self.root = root
        self.names: set[str] = set()
        self.inode = 0

    def add(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0), mtime: int = 0) -> None:
        name = name.strip("/")
        if name in self.names:
            return
        parent = os.path.dirname(name)
        if parent and parent not in self.names:
            self.add(parent, stat.S_IFDIR | 0o755)
        self.names.add(name)
        self._entry(name, mode, data, device, mtime)

    def _entry(self, name: str, mode: int, data: bytes, device: tuple[int, int], mtime: int) -> None:
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, mtime, len(data), 0, 0, *device, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self.out.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def directory(self, name: str) -> None:
        self.add(name, stat.S_IFDIR | 0o755)

    def text(self, name: str, text: str) -> None:
        self.add(name, stat.S_IFREG | 0o644, text.encode())

    def script(self, name: str, text: str) -> None:
        self.add(name, stat.S_IFREG | 0o755, text.encode())

    def link(self, name: str, target: str) -> None:
        self.add(name, stat.S_IFLNK | 0o777, target.encode())

    def file(self, source: Path, name: str | None = None) -> None:
        """A file or link of this machine, with its mode and time, at the same place unless told otherwise. (The time:
        Python's bytecode names that of its source.)"""
        name = name or str(source)
        info = source.lstat()
        if stat.S_ISLNK(info.st_mode):
            self.link(name, os.readlink(source))
        else:
            self.add(name, stat.S_IFREG | stat.S_IMODE(info.st_mode), source.read_bytes(), mtime=int(info.st_mtime))

    def tree(self, source: Path, name: str, skip: frozenset[str] = frozenset()) -> None:
        for directory, directories, files in os.walk(source):
            directories[:] = sorted(set(directories) - skip)
            inner = directory.removeprefix(str(source))
            for file in sorted(files):
                self.file(Path(directory, file), f"{name}{inner}/{file}")

    def binary(self, source: Path, name: str | None = None) -> None:
        """A program or library, behind links if need be, with the libraries that it needs."""
        self.add(name or str(source), stat.S_IFREG | 0o755, source.read_bytes())
        for library, found in self.libraries(source).items():
            self.add(library, stat.S_IFREG | 0o755, found.read_bytes())

    def program(self, name: str) -> None:
        """One of the machine's or of the unpacked packages', in /usr/bin. FileNotFoundError if there is none."""
        places = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
        unpacked = [self.root / place.strip("/") / name for place in places] if self.root else []
        found = next((path for path in unpacked if path.exists()), None) or shutil.which(name, path=":".join(places))
        if found is None:
            raise FileNotFoundError(f"{name} is not installed")
        self.binary(Path(found), f"usr/bin/{name}")

    def libraries(self, binary: Path) -> dict[str, Path]:
        """What ldd says: the names by which the loader looks for them, and where they are."""
        places = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/samba")
        path = ":".join(f"{self.root}/{place}" for place in places) if self.root else ""
        out = subprocess.run(["ldd", str(binary)], text=True, capture_output=True, check=False,
                             env={**os.environ, "LD_LIBRARY_PATH": path}).stdout
        found = {}
        for place in re.findall(r"(/\S+) \(0x", out):
            name = place.removeprefix(str(self.root)) if self.root else place
            found[name] = Path(place)
        return found

    def close(self) -> None:
        self._entry("TRAILER!!!", 0, b"", (0, 0), 0)
