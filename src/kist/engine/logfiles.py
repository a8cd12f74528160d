"""The files of one log as a reader: oldest to newest, over rotation and compression while it reads.

::

    <log>.2.gz   oldest      compressed: unpacked into an unlinked file when its turn has come
    <log>.1                  rotated, and not compressed yet (or never: that's an option)
    <log>        newest

Files are told apart by inode number, for names go on from one to the next. A compressed file says of which inode it
is the copy (logpress.py), so who has read the original knows where to go on.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from kist.engine import logpress
from kist.engine.logformats import BLOCK, Format

log = logging.getLogger(__name__)
TICK = 1_000_000_000  # ns: by far more than a file's time may lag behind what was written last (CLOCK_REALTIME_COARSE)


class LogFiles:
    """Opened descriptors survive renames, so rotation loses nothing. Blocking."""

    def __init__(self, path: str, form: Format) -> None:
        self._path = path
        self._form = form
        self._fd = -1  # what is read
        self._named = -1  # the file that has the name; the same, unless that is compressed
        self._rest = b""

    def close(self) -> None:
        if self._named != self._fd:
            os.close(self._named)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = self._named = -1

    def start(self, *, tail: int | None, since: int) -> None:
        """Place the reader at the oldest record that is wanted."""
        names = self._names()
        if tail is not None:
            self._seek_tail(names, tail)
            return
        for name in names:  # a file that was written to last before `since` holds nothing wanted
            if (not since or name == self._path or _written(name) + TICK >= since) and self._open(name):
                return

    def read(self) -> bytes | None:
        """The next block of whole records; None at the (present) end of the newest file."""
        while True:
            if self._fd < 0 and not self._open(self._path):
                return None
            data = os.read(self._fd, BLOCK)
            if data:
                whole, self._rest = self._form.split(self._rest + data)
                if whole:
                    return whole
                continue
            if not self._next_file():
                return None

    def _next_file(self) -> bool:
        """At a file's end: go on to the one that follows it, if this one was rotated away meanwhile."""
        while True:
            gone = os.fstat(self._named).st_nlink == 0
            names = self._names()
            # Newest first: what is renamed meanwhile moves to where we haven't looked yet.
            place = next((n for n in range(len(names) - 1, -1, -1) if self._is_mine(names[n])), None)
            if place is None:
                if gone and names == self._names():  # rotated out: the oldest that is left comes next
                    return self._open(names[0])
                if not _inode(self._path):  # removed with all that's in its directory, or about to be made anew
                    return False
                continue
            if place == len(names) - 1:
                return False
            old = self._fd, self._named
            self._fd = self._named = -1
            if self._open(names[place + 1]) and self._still(names[place], old[1]):
                _close(*old)
                return True
            self.close()  # renamed between the two looks: another one has that name now
            self._fd, self._named = old

    def _is_mine(self, name: str) -> bool:
        """Whether that name is the present file's, or its compressed copy's."""
        mine = os.fstat(self._named).st_ino
        try:
            if os.stat(name).st_ino == mine:
                return True
            return name.endswith(logpress.PRESSED) and self._named == self._fd and logpress.origin(name) == mine
        except FileNotFoundError:
            return False

    def _still(self, name: str, named: int) -> bool:
        """Files are renamed oldest first: if the one before still has its name, so has the one behind it."""
        try:
            mine = os.fstat(named).st_ino
            return os.stat(name).st_ino == mine or (name.endswith(logpress.PRESSED) and logpress.origin(name) == mine)
        except FileNotFoundError:
            return False

    def _open(self, name: str) -> bool:
        try:
            named = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fd = logpress.unpack(named, os.path.dirname(name)) if name.endswith(logpress.PRESSED) else named
        except logpress.UNREADABLE as error:
            log.warning("log %s can't be unpacked and is left out: %s", name, error)
            fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.close()
        self._fd, self._named, self._rest = fd, named, b""
        return True

    def _names(self) -> list[str]:
        """Oldest first. In the midst of a rotation a name may be missed: what was seen twice is right."""
        before = None
        while before != (found := (_inode(self._path), self._list())):
            before = found
        return found[1]

    def _list(self) -> list[str]:
        folder, base = os.path.split(self._path)
        numbers: dict[int, str] = {}
        with suppress(FileNotFoundError):
            for name in os.listdir(folder):
                number = name[len(base) + 1:].removesuffix(logpress.PRESSED)
                if name.startswith(base + ".") and number.isdecimal():
                    numbers[int(number)] = min(name, numbers.get(int(number), name))  # both: the original
        return [f"{folder}/{numbers[number]}" for number in sorted(numbers, reverse=True)] + [self._path]

    def _seek_tail(self, names: list[str], tail: int) -> None:
        left = tail
        for name in reversed(names):
            if not self._open(name):
                continue
            left = self._form.seek_back(self._fd, left)
            if left == 0:
                return


def _inode(name: str) -> int:
    try:
        return os.stat(name).st_ino
    except FileNotFoundError:
        return 0


def _written(name: str) -> int:
    try:
        return os.stat(name).st_mtime_ns
    except FileNotFoundError:
        return 0


def _close(fd: int, named: int) -> None:
    os.close(fd)
    if named != fd:
        os.close(named)
