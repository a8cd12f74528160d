"""Where the output for a client goes that has fallen far behind: an unlinked file, first in, first out."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# A file's length, not what is unread in it: space is given back when everything was read.
LIMIT = 256 * 1024 * 1024


class Spill:
    """First in, first out. Takes no descriptor while empty. What the disk has no room for waits in memory."""

    __slots__ = ("_directory", "_end", "_fd", "_start", "_tail")

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fd = -1
        self._start = self._end = 0
        self._tail: list[bytes | memoryview] = []

    def __bool__(self) -> bool:
        return self._end > self._start or bool(self._tail)

    @property
    def full(self) -> bool:
        """Nothing more should come before this one has been emptied."""
        return self._end >= LIMIT or bool(self._tail)

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        try:
            if self._tail:
                self._tail += parts
                return
            if self._fd < 0:
                self._fd = _unlinked_file(self._directory)
            if os.pwritev(self._fd, parts, self._end) == sum(map(len, parts)):
                self._end += sum(map(len, parts))
                return
        except OSError:
            pass
        self._tail += parts

    def read(self, size: int) -> bytes | memoryview:
        """Take up to about ``size`` bytes from the front."""
        if self._end == self._start:
            return self._tail.pop(0)
        data = os.pread(self._fd, min(size, self._end - self._start), self._start)
        self._start += len(data)
        if self._start == self._end:
            self._empty_file()
        return data

    def close(self) -> None:
        self._tail.clear()
        self._empty_file()

    def _empty_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._start = self._end = 0


def _unlinked_file(directory: str) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # the file system has no O_TMPFILE
        path = f"{directory}/.spill-{os.getpid()}-{os.urandom(8).hex()}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)
        return fd
