"""fs-verity's digest computed as Documentation/filesystems/fsverity.rst says, and a file system that has it for tests.

    data ── blocks of 4096 ── hashes, 128 to a block ── … ── one block: the root's hash ── descriptor ── the digest
"""

from __future__ import annotations

import errno
import os
import struct
from hashlib import sha256

BLOCK = 4096


def digest(data: bytes) -> str:
    """Without salt, by SHA-256."""
    level = [data[at:at + BLOCK].ljust(BLOCK, b"\0") for at in range(0, len(data), BLOCK)]
    while len(level) > 1:
        hashes = b"".join(sha256(block).digest() for block in level)
        level = [hashes[at:at + BLOCK].ljust(BLOCK, b"\0") for at in range(0, len(hashes), BLOCK)]
    root = sha256(level[0]).digest() if level else bytes(32)
    descriptor = struct.pack("<BBBBIQ64s32s144x", 1, 1, 12, 0, 0, len(data), root, b"")
    return f"sha256:{sha256(descriptor).hexdigest()}"


class InMemory:
    """Like `kist.linux.verity`, on any file system: the seals are remembered by inode, nothing is enforced."""

    def __init__(self) -> None:
        self.sealed: dict[tuple[int, int], str] = {}
        self.lacking = False    # whether the file system has no fs-verity (any more)
        self.busy = 0           # how often a file is said to be open for writing

    def enable(self, path: str) -> None:
        inode, data = self._read(path)
        if self.busy:
            self.busy -= 1
            raise OSError(errno.ETXTBSY, os.strerror(errno.ETXTBSY))
        if inode in self.sealed:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        self.sealed[inode] = digest(data)

    def measure(self, path: str) -> str:
        inode, _ = self._read(path)
        if inode not in self.sealed:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return self.sealed[inode]

    def _read(self, path: str) -> tuple[tuple[int, int], bytes]:
        if self.lacking:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            return (found.st_dev, found.st_ino), file.read()
