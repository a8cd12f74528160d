"""Log drivers: where a container's output is kept. One write per batch, rotation in between.

    <id>-json.log      the newest records                          (driver "local": local-logs/container.log)
    <id>-json.log.1    older ones, up to .<max_file - 1>; each at most max_size bytes; or compressed: .1.gz

Compressing is the server's work (engine/logpress.py): it makes the compressed copy beside the log and asks for it to
be put in its place (``settle``), for while a container runs nobody but its monitor gives its log's files their names.
A monitor without a server just rotates; what is there then is compressed when there is one again.

A log never stops a container: what can't be written (disk full) is dropped, and said once on stderr.
"""

from __future__ import annotations

import os
import sys
import time

from kist.launcher import localfile, protocol
from kist.launcher.lines import JsonLines, Splitter, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from kist.launcher.loop import Loop
    from kist.launcher.streams import Streams

    class Encoder(Protocol):
        def lines(self, run: bytes, stream: str, stamp: Any) -> bytes: ...

        def piece(self, piece: bytes, stream: str, stamp: Any) -> bytes: ...

    class Log(Protocol):
        def write(self, stream: str, data: bytes) -> None: ...

        def close(self) -> None: ...


KEPT_IN_FILES = ("json-file", "local")


class NoLog:
    """The driver "none"."""

    __slots__ = ()

    def write(self, stream: str, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


class LogFile:
    """The drivers "json-file" and "local": Docker's formats and file names."""

    __slots__ = ("_encode", "_file", "_splitters", "_stamp")

    def __init__(self) -> None:
        """All that needs no file: made in the launcher, where all monitors share its memory."""
        self._file = RotatingFile()
        self._encode: Encoder = JsonLines()
        self._stamp: Callable[[int], Any] = timestamp
        self._splitters = {"stdout": Splitter(), "stderr": Splitter()}

    def open(self, config: dict[str, Any], fd: int | None = None) -> LogFile:
        """``config``: {"driver", "path", "max_size", "max_file", "attrs"}; ``fd``: the file, if it is open already."""
        attrs = config.get("attrs")
        if config["driver"] == "local":
            self._encode, self._stamp, self._file.border = localfile.LocalRecords(), int, localfile.border
        elif attrs:
            self._encode = JsonLines(protocol.encode(attrs).decode())
        if fd is None:
            fd = open_file(config["path"], config["driver"])
        self._file.open(config["path"], config.get("max_size", 0), config.get("max_file", 1), fd)
        return self

    def notify(self, rotated: Callable[[], object]) -> None:
        """Call ``rotated`` whenever a file has got a number."""
        self._file.on_rotated = rotated

    def settle(self, inode: int, pressed: str) -> None:
        """See ``settle`` below."""
        self._file.settle(inode, pressed)

    def write(self, stream: str, data: bytes) -> None:
        stamp = self._stamp(time.time_ns())
        encode = self._encode
        records = []
        for run, whole in self._splitters[stream].feed(data):  # no comprehension: it would be one more function
            records.append((encode.lines if whole else encode.piece)(run, stream, stamp))
        if records:
            self._file.append(b"".join(records))

    def close(self) -> None:
        stamp = self._stamp(time.time_ns())
        for stream, splitter in self._splitters.items():
            rest = splitter.end()
            if rest:
                self._file.append(self._encode.piece(rest, stream, stamp))
        self._file.close()


class Both:
    """A log in files beside another program's: who reads the log reads the files."""

    __slots__ = ("_files", "_remote")

    def __init__(self, files: LogFile, remote: dict[str, Any], loop: Loop, streams: Streams) -> None:
        """Raises OSError if the other one can't be reached."""
        self._files = files
        self._remote = open_log(remote, loop, streams)

    def write(self, stream: str, data: bytes) -> None:
        self._files.write(stream, data)
        self._remote.write(stream, data)

    def close(self) -> None:
        self._files.close()
        self._remote.close()


class RotatingFile:
    """Appends whole records; no file grows above ``max_size`` bytes (0: no limit) unless one record does."""

    __slots__ = ("_complained", "_fd", "_max_file", "_max_size", "_path", "_size", "border", "on_rotated")

    def __init__(self) -> None:
        self._path = ""
        self._max_size = 0
        self._max_file = 1
        self._complained = False
        self._fd = -1
        self._size = 0
        self.on_rotated: Callable[[], object] | None = None
        self.border: Callable[[bytes, int, int], int] = _line_border

    def open(self, path: str, max_size: int, max_file: int, fd: int) -> RotatingFile:
        """``fd``: the file, see ``open_file``."""
        self._path = path
        self._max_size = max_size
        self._max_file = max_file
        self._fd = fd
        self._size = os.lseek(self._fd, 0, os.SEEK_END)
        return self

    def append(self, records: bytes) -> None:
        """Append whole records."""
        if not self._max_size or self._size + len(records) <= self._max_size:
            self._write(records)
            return
        at = 0
        while at < len(records):
            room = max(self._max_size - self._size, 0)
            cut = len(records) if len(records) - at <= room else self.border(records, at, at + room)
            if cut - at > room and self._size:  # not one record fits
                if not self._rotate():
                    return
                continue
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

    def settle(self, inode: int, pressed: str) -> None:
        settle(self._path, self._max_file, inode, pressed)

    def _rotate(self) -> bool:
        """Whether there is a new file. It is made first: where the disk has no room for one, the others keep their
        names, and what comes is dropped until it has."""
        fresh = self._path + ".next"
        try:
            fd = os.open(fresh, _APPENDING | os.O_TRUNC, 0o640)
        except OSError as error:
            self._complain(error.strerror or str(error))
            return False
        try:
            _shift(self._path, self._max_file)
        except OSError as error:
            self._complain(error.strerror or str(error))
        try:
            os.rename(fresh, self._path)
        except OSError as error:
            self._complain(error.strerror or str(error))
        os.close(self._fd)
        self._fd = fd
        self._size = 0
        if self.on_rotated:
            self.on_rotated()
        return True

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            print(f"kist-monitor: {self._path}: {why}: output is not logged", file=sys.stderr, flush=True)


_APPENDING = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def _line_border(records: bytes, at: int, end: int) -> int:
    """The end of the last whole line before ``end``, or of the first one if that is longer."""
    return records.rfind(b"\n", at, end) + 1 or records.index(b"\n", at) + 1


def open_file(path: str, driver: str) -> int:
    """A log's file, for whole records at its end; gives the descriptor. Raises OSError."""
    if driver == "local":
        try:
            os.mkdir(os.path.dirname(path), 0o700)
        except FileExistsError:
            pass
        fd = os.open(path, _APPENDING, 0o640)
        localfile.mend(fd)
        return fd
    fd = os.open(path, _APPENDING, 0o640)
    size = os.lseek(fd, 0, os.SEEK_END)
    if size and os.pread(fd, 1, size - 1) != b"\n":  # a power cut left half a record: keep it apart from ours
        try:
            os.write(fd, b"\n")
        except OSError:  # the disk is full: what comes next will say so
            pass
    return fd


PRESSED = ".gz"


def _shift(path: str, max_file: int) -> None:
    """Each file one number on, oldest first: a reader that looks from the newest on misses none."""
    if max_file == 1:
        _unlink(path)  # not emptied: who still reads it reads it to its end
        return
    for ending in ("", PRESSED):
        _unlink(f"{path}.{max_file - 1}{ending}")
    for number in range(max_file - 1, 1, -1):
        for ending in ("", PRESSED):
            _rename(f"{path}.{number - 1}{ending}", f"{path}.{number}{ending}")
    _rename(path, f"{path}.1")


def settle(path: str, max_file: int, inode: int, pressed: str) -> None:
    """Put a compressed copy in the place of the rotated file with that inode number, whatever its name is by now. The
    copy is dropped if that file is gone. Raises OSError."""
    written = os.stat(pressed).st_mtime_ns  # the original's: a number may be another file's by now
    for number in range(1, max_file):
        name = f"{path}.{number}"
        try:
            status = os.stat(name)
        except FileNotFoundError:
            continue
        if status.st_ino == inode and status.st_mtime_ns == written:
            os.rename(pressed, name + PRESSED)
            os.unlink(name)
            return
    _unlink(pressed)


def _rename(old: str, new: str) -> None:
    try:
        os.rename(old, new)
    except FileNotFoundError:
        pass


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def open_log(config: dict[str, Any], loop: Loop, streams: Streams) -> Log:
    """The log that ``config`` describes: {"driver"} and its driver's words, see engine/logdrivers.py. Raises OSError
    where the receiver of "syslog" or "journald" isn't there.
    """
    driver = config["driver"]
    if driver == "none":
        return NoLog()
    if driver in KEPT_IN_FILES:
        return LogFile().open(config)
    from kist.launcher import remote  # few containers need it

    if driver == "syslog":
        return remote.Syslog(config, loop, streams)
    if driver == "journald":
        return remote.Journald(config, loop, streams)
    raise ValueError(f"no such log driver: {driver}")
