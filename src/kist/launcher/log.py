"""Log drivers: where a container's output is kept. One write per batch, rotation in between.

    <id>-json.log      the newest records
    <id>-json.log.1    older ones, up to .<max_file - 1>; each at most max_size bytes

A log never stops a container: what can't be written (disk full) is dropped, and said once on stderr.
"""

from __future__ import annotations

import os
import sys
import time

from kist.launcher import protocol
from kist.launcher.lines import JsonLines, Splitter, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from kist.launcher.loop import Loop
    from kist.launcher.streams import Streams

    class Log(Protocol):
        def write(self, stream: str, data: bytes) -> None: ...

        def close(self) -> None: ...


# "local" is a json-file that promises nobody its format.
KEPT_IN_FILES = ("json-file", "local")


class NoLog:
    """The driver "none"."""

    __slots__ = ()

    def write(self, stream: str, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


class JsonFile:
    """The driver "json-file": Docker's format and file names."""

    __slots__ = ("_encode", "_file", "_splitters")

    def __init__(self) -> None:
        """All that needs no file: made in the launcher, where all monitors share its memory."""
        self._file = RotatingFile()
        self._encode = JsonLines()
        self._splitters = {"stdout": Splitter(), "stderr": Splitter()}

    def open(self, config: dict[str, Any], fd: int | None = None) -> JsonFile:
        """``config``: {"path", "max_size", "max_file", "attrs"}; ``fd``: the file, if it is open already."""
        attrs = config.get("attrs")
        if attrs:
            self._encode = JsonLines(protocol.encode(attrs).decode())
        self._file.open(config["path"], config.get("max_size", 0), config.get("max_file", 1), fd)
        return self

    def write(self, stream: str, data: bytes) -> None:
        stamp = timestamp(time.time_ns())
        encode = self._encode
        records = []
        for run, whole in self._splitters[stream].feed(data):  # no comprehension: it would be one more function
            records.append((encode.lines if whole else encode.piece)(run, stream, stamp))
        if records:
            self._file.append(b"".join(records))

    def close(self) -> None:
        stamp = timestamp(time.time_ns())
        for stream, splitter in self._splitters.items():
            rest = splitter.end()
            if rest:
                self._file.append(self._encode.piece(rest, stream, stamp))
        self._file.close()


class RotatingFile:
    """Appends whole records; no file grows above ``max_size`` bytes (0: no limit) unless one record does."""

    __slots__ = ("_complained", "_fd", "_max_file", "_max_size", "_path", "_size")

    def __init__(self) -> None:
        self._path = ""
        self._max_size = 0
        self._max_file = 1
        self._complained = False
        self._fd = -1
        self._size = 0

    def open(self, path: str, max_size: int, max_file: int, fd: int | None = None) -> RotatingFile:
        """``fd``: the file, if somebody has opened it already."""
        self._path = path
        self._max_size = max_size
        self._max_file = max_file
        self._fd = open_file(path) if fd is None else fd
        self._size = os.lseek(self._fd, 0, os.SEEK_END)
        return self

    def append(self, records: bytes) -> None:
        """Append newline-terminated records."""
        if not self._max_size or self._size + len(records) <= self._max_size:
            self._write(records)
            return
        at = 0
        while at < len(records):
            room = max(self._max_size - self._size, 0)
            cut = len(records) if len(records) - at <= room else records.rfind(b"\n", at, at + room) + 1
            if cut <= at:  # not one record fits
                if self._size:
                    self._rotate()
                    continue
                cut = records.index(b"\n", at) + 1
            self._write(records[at:cut])
            at = cut

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, records: bytes) -> None:
        try:
            done = os.write(self._fd, records)
            if done != len(records):  # the disk is full: no half records
                os.ftruncate(self._fd, self._size)
                self._complain("disk full")
                return
            self._size += done
        except OSError as error:
            self._complain(error.strerror or str(error))

    def _rotate(self) -> None:
        if self._max_file > 1:
            try:
                for number in range(self._max_file - 1, 1, -1):
                    _rename(f"{self._path}.{number - 1}", f"{self._path}.{number}")
                _rename(self._path, f"{self._path}.1")
            except OSError as error:
                self._complain(error.strerror or str(error))
        os.close(self._fd)
        self._fd = os.open(self._path, _APPENDING | os.O_TRUNC, 0o640)
        self._size = 0

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            print(f"kist-monitor: {self._path}: {why}: output is not logged", file=sys.stderr, flush=True)


_APPENDING = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def open_file(path: str) -> int:
    """A log's file, for whole records at its end; gives the descriptor. Raises OSError."""
    fd = os.open(path, _APPENDING, 0o640)
    size = os.lseek(fd, 0, os.SEEK_END)
    if size and os.pread(fd, 1, size - 1) != b"\n":  # a power cut left half a record: keep it apart from ours
        try:
            os.write(fd, b"\n")
        except OSError:  # the disk is full: what comes next will say so
            pass
    return fd


def _rename(old: str, new: str) -> None:
    try:
        os.rename(old, new)
    except FileNotFoundError:
        pass


def open_log(config: dict[str, Any], loop: Loop, streams: Streams) -> Log:
    """The log that ``config`` describes: {"driver"} and its driver's words, see engine/logdrivers.py.
 Raises OSError where the receiver
    of "syslog" or "journald" isn't there.
    """
    driver = config["driver"]
    if driver == "none":
        return NoLog()
    if driver in KEPT_IN_FILES:
        return JsonFile().open(config)
    from kist.launcher import remote  # few containers need it

    if driver == "syslog":
        return remote.Syslog(config, loop, streams)
    if driver == "journald":
        return remote.Journald(config, loop, streams)
    raise ValueError(f"no such log driver: {driver}")
