"""The files of one log as a reader: oldest to newest, over rotation and compression while it reads.

::

    <log>.2.gz   2, oldest   compressed: unpacked into an unlinked file when its turn has come
    <log>.1      1           rotated, and not compressed yet (or never: that's an option)
    <log>        0, newest

Nobody holds the writer up, so names go on from one file to the next between any two looks, and a look may fall into
the midst of a rotation, where a number is missing. Two things are always so (launcher/log.py, `_shift` and `settle`):
a file's number only grows, and an older file has the greater one. So who looks at one number after the other, from 0
on, passes no file by, and sees each right before the one that is older by one (others may come twice in between).

Files are told apart by inode number, which nobody else gets while we hold the file. A compressed file says of which
inode it is the copy (logpress.py), so who has read the original knows where to go on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import NamedTuple

from kist.engine import logpress
from kist.engine.logformats import BLOCK, Format

log = logging.getLogger(__name__)
TICK = 1_000_000_000  # ns: by far more than a file's time may lag behind what was written last (CLOCK_REALTIME_COARSE)


class _File(NamedTuple):
    """One of the log's files, opened."""

    fd: int
    number: int
    inode: int
    pressed: bool
    origin: int | None  # the inode number of the file that this compressed one is the copy of, if that is known

    def is_later(self, name: _File) -> bool:
        """Whether that is this file under its later name: moved on, or compressed meanwhile."""
        return name.inode == self.inode or (not self.pressed and name.origin == self.inode)

    def close(self) -> None:
        os.close(self.fd)


class LogFiles:
    """Opened descriptors survive renames, so rotation loses nothing. Blocking."""

    def __init__(self, path: str, form: Format) -> None:
        self._path = path
        self._form = form
        self._file: _File | None = None
        self._fd = -1  # what is read: the file, or its content if that is compressed
        self._rest = b""

    def close(self) -> None:
        if self._file is not None:
            if self._fd != self._file.fd:
                os.close(self._fd)
            self._file.close()
        self._file, self._fd = None, -1

    def start(self, *, tail: int | None, since: int) -> None:
        """Place the reader at the oldest record that is wanted."""
        if tail is not None:
            self._seek_tail(tail)
            return
        self._begin(since)

    def read(self) -> bytes | None:
        """The next block of whole records; None at the (present) end of the newest file."""
        while True:
            if self._file is None and not self._begin(0):
                return None
            data = os.read(self._fd, BLOCK) or self._read_on()
            if data is None:
                return None
            whole, self._rest = self._form.split(self._rest + data)
            if whole:
                return whole

    def _begin(self, since: int) -> bool:
        """At the oldest file that may hold what is wanted; False if there is none."""
        with closing(_Kept()) as kept:
            for file in self._newest_first():
                # A file that was written to last before `since` holds nothing wanted, nor do those before it.
                if since and file.number and os.fstat(file.fd).st_mtime_ns + TICK < since:
                    file.close()
                    break
                kept.put(file)
            oldest = kept.take()
        if oldest is not None:
            self._use(oldest)
        return oldest is not None

    def _read_on(self) -> bytes | None:
        """At a file's end: what follows it; None if nothing does."""
        while (following := self._following()) is not None:
            # Only now it's sure that nobody writes to the file any more: there may be more since we saw its end.
            if data := os.read(self._fd, BLOCK):
                following.close()
                return data
            self._use(following)
            if data := os.read(self._fd, BLOCK):
                return data
        return None

    def _following(self) -> _File | None:
        """The file that is newer by one."""
        assert self._file is not None
        with closing(_Kept()) as kept:
            for file in self._newest_first():
                if self._file.is_later(file):
                    file.close()
                    return kept.take()
                kept.put(file)
            if os.fstat(self._file.fd).st_nlink:  # somebody else has moved it
                return self._look(0)
            return kept.take()  # rotated out: the oldest that is left

    def _older(self) -> _File | None:
        """The file that is older by one."""
        assert self._file is not None
        while True:
            place = None
            for file in self._newest_first():
                if self._file.is_later(file):
                    place = file.number
                elif place is not None:
                    if self._is_at(place):
                        return file
                    file.close()  # ours has moved on meanwhile, so this one may be newer
                    break
                file.close()
            else:
                return None

    def _is_at(self, number: int) -> bool:
        assert self._file is not None
        file = self._look(number)
        if file is None:
            return False
        file.close()
        return self._file.is_later(file)

    def _newest_first(self) -> Iterator[_File]:
        """All files, opened; who takes one closes it."""
        number, last = 0, 0
        while number <= last or number <= (last := self._last()):
            file = self._look(number)
            if file is not None:
                yield file
            number += 1

    def _look(self, number: int) -> _File | None:
        """The file that has this number now. The original first: it goes when its copy is there."""
        for ending in ("", logpress.PRESSED) if number else ("",):
            with suppress(FileNotFoundError):
                fd = os.open(f"{self._path}.{number}{ending}" if number else self._path, os.O_RDONLY | os.O_CLOEXEC)
                return _File(fd, number, os.fstat(fd).st_ino, bool(ending), logpress.origin(fd) if ending else None)
        return None

    def _last(self) -> int:
        """The greatest number there is. Twice: the list of a large directory may lack what is renamed meanwhile."""
        folder, base = os.path.split(self._path)
        found = [0]
        with suppress(FileNotFoundError):
            for name in (*os.listdir(folder), *os.listdir(folder)):
                number = name[len(base) + 1:].removesuffix(logpress.PRESSED)
                if name.startswith(base + ".") and number.isdecimal():
                    found.append(int(number))
        return max(found)

    def _use(self, file: _File) -> None:
        try:
            fd = logpress.unpack(file.fd, os.path.dirname(self._path)) if file.pressed else file.fd
        except logpress.UNREADABLE as error:
            log.warning("a compressed file of log %s can't be unpacked and is left out: %s", self._path, error)
            fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self.close()
        self._file, self._fd, self._rest = file, fd, b""

    def _seek_tail(self, tail: int) -> None:
        left = tail
        file = next(self._newest_first(), None)
        while file is not None:
            self._use(file)
            left = self._form.seek_back(self._fd, left)
            file = self._older() if left else None


class _Kept:
    """Holds the file that was seen last; those before it are closed."""

    def __init__(self) -> None:
        self._file: _File | None = None

    def put(self, file: _File) -> None:
        self.close()
        self._file = file

    def take(self) -> _File | None:
        file, self._file = self._file, None
        return file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
