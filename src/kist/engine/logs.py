"""Reading json-file logs: from the end, by time, following, across rotation. Starts and stops nothing.

::

    <id>-json.log.2   oldest     {"log":"text\\n","stream":"stdout","time":"2026-11-23T14:16:48.123456789Z"}
    <id>-json.log.1              one such record per line; "log" without its newline is a piece of a long line
    <id>-json.log     newest     bytes that are no UTF-8 are the escapes \\udc80 … \\udcff

A record that is broken (a power cut) is skipped, the rest is shown. Work is done in batches of `BLOCK`
bytes in threads: decoding a record costs less than handing it over would.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec

from kist.api import frames
from kist.engine import times
from kist.linux import inotify

BLOCK = 1 << 20
_STREAMS = {"stdout": frames.STDOUT, "stderr": frames.STDERR}


class Record(msgspec.Struct):
    log: str
    stream: str = "stdout"
    time: str = ""
    attrs: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(Record)
_lines_decoder = msgspec.json.Decoder(Record)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show. Times in ns, 0 = unbounded; `tail` None = all."""

    stdout: bool = True
    stderr: bool = True
    since: int = 0
    until: int = 0
    tail: int | None = None
    timestamps: bool = False
    details: bool = False
    framed: bool = True


def parse(block: bytes) -> list[Record]:
    """The records of whole lines; broken ones are left out."""
    try:
        return _lines_decoder.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = (_parse_line(line) for line in block.split(b"\n") if line)
        return [record for record in found if record is not None]


def _parse_line(line: bytes) -> Record | None:
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:  # lone surrogates: the standard library takes them, msgspec does not
        return msgspec.convert(json.loads(line), Record)
    except (ValueError, msgspec.ValidationError, RecursionError):
        return None


def render(records: list[Record], wanted: Wanted) -> tuple[bytes, bool]:
    """The bytes for the client, and whether `until` was passed (nothing later need be read)."""
    out: list[bytes] = []
    streams = {name: number for name, number in _STREAMS.items() if getattr(wanted, name)}
    timed, prefixed = bool(wanted.since or wanted.until), wanted.timestamps or wanted.details
    for record in records:
        if timed:
            at = _time(record.time)
            if at < wanted.since:
                continue
            if wanted.until and at > wanted.until:
                return b"".join(out), True
        stream = streams.get(record.stream)
        if stream is None:
            continue
        data = _text(record.log)
        if prefixed:
            data = _prefix(record, wanted) + data
        if wanted.framed:
            out.append(frames.header(stream, len(data)))
        out.append(data)
    return b"".join(out), False


def _text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def _prefix(record: Record, wanted: Wanted) -> bytes:
    words = []
    if wanted.timestamps:
        words.append(times.rfc3339_fixed(_time(record.time)))
    if wanted.details:
        words.append(",".join(f"{key}={value}" for key, value in sorted((record.attrs or {}).items())))
    return (" ".join(words) + " ").encode("utf-8", "replace")


def _time(text: str) -> int:
    try:
        return times.parse_rfc3339(text)
    except ValueError:
        return 0


class LogFiles:
    """The files of one log as a reader: opened descriptors survive renames, so rotation loses nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._rest = b""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def start(self, *, tail: int | None, since: int) -> None:
        """Place the reader at the oldest record that is wanted."""
        names = self._names()
        if tail is not None:
            self._seek_tail(names, tail)
            return
        for name in names:  # a file that was written to last before `since` holds nothing wanted
            if self._open(name) and (not since or name == self._path or os.fstat(self._fd).st_mtime_ns >= since):
                return

    def read(self) -> bytes | None:
        """The next block of whole lines; None at the (present) end of the newest file."""
        while True:
            if self._fd < 0 and not self._open(self._path):
                return None
            data = os.read(self._fd, BLOCK)
            if data:
                whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
                if newline:
                    return whole + newline
                continue
            if not self._next_file():
                return None

    def _next_file(self) -> bool:
        """At a file's end: go on to the one that follows it, if this one was rotated away meanwhile."""
        mine = os.fstat(self._fd).st_ino
        names = self._names()
        for name, following in zip(names, [*names[1:], None], strict=True):
            try:
                if os.stat(name).st_ino != mine:
                    continue
            except FileNotFoundError:
                continue
            return following is not None and self._open(following)
        # The file is gone altogether (rotated out or removed): the oldest that is left comes next.
        return bool(names) and self._open(names[0])

    def _open(self, name: str) -> bool:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self.close()
        self._fd, self._rest = fd, b""
        return True

    def _names(self) -> list[str]:
        """Oldest first."""
        folder, base = os.path.split(self._path)
        try:
            numbers = sorted((int(name[len(base) + 1:]) for name in os.listdir(folder)
                              if name.startswith(base + ".") and name[len(base) + 1:].isdecimal()), reverse=True)
        except FileNotFoundError:
            return []
        return [f"{self._path}.{number}" for number in numbers] + [self._path]

    def _seek_tail(self, names: list[str], tail: int) -> None:
        """Count lines backwards, block by block, from the newest file's end."""
        left = tail
        for index in range(len(names) - 1, -1, -1):
            if not self._open(names[index]):
                continue
            left = self._seek_back(left)
            if left == 0:
                return

    def _seek_back(self, lines: int) -> int:
        """Place the descriptor `lines` lines before the end (or at the start); answers how many were missing."""
        end = os.lseek(self._fd, 0, os.SEEK_END)
        if lines == 0:
            return 0
        at, ending = end, True
        while at > 0:
            size = min(BLOCK // 4, at)
            at -= size
            block = os.pread(self._fd, size, at)
            cut = len(block)
            if ending and block.endswith(b"\n"):
                cut -= 1  # the newline that ends the last line begins no other
            ending = False
            while (found := block.rfind(b"\n", 0, cut)) >= 0:
                lines -= 1
                if lines == 0:
                    os.lseek(self._fd, at + found + 1, os.SEEK_SET)
                    return 0
                cut = found
        os.lseek(self._fd, 0, os.SEEK_SET)
        return lines - 1 if end else lines


async def read_log(path: str, wanted: Wanted, *, ended: asyncio.Future[Any] | None = None,
                   ) -> AsyncIterator[bytes]:
    """The log as bytes for the client. With `ended`, follow until that is done and all was read."""
    files = LogFiles(path)
    watch = _Watch(os.path.dirname(path)) if ended is not None else None
    try:
        await asyncio.to_thread(files.start, tail=wanted.tail, since=wanted.since)
        while True:
            last_round = ended is None or ended.done()
            while True:
                data, more, over = await asyncio.to_thread(_next, files, wanted)
                if data:
                    yield data
                if over:
                    return
                if not more:
                    break
            if last_round or watch is None or ended is None:
                return
            if wanted.until and times.now() > wanted.until:
                return
            await watch.changed_or(ended, until=wanted.until)
    finally:
        files.close()
        if watch is not None:
            watch.close()


def _next(files: LogFiles, wanted: Wanted) -> tuple[bytes, bool, bool]:
    """(bytes, whether more may wait, whether `until` was passed)"""
    block = files.read()
    if block is None:
        return b"", False, False
    data, over = render(parse(block), wanted)
    return data, True, over


class _Watch:
    """Wakes the follower when a file of the directory is written, made or renamed."""

    def __init__(self, folder: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = inotify.inotify_init1()
        self._changed = asyncio.Event()
        try:
            inotify.inotify_add_watch(self._fd, folder, inotify.IN_MODIFY | inotify.IN_CREATE
                                      | inotify.IN_MOVED_TO | inotify.IN_DELETE_SELF)
        except FileNotFoundError:
            self._changed.set()
        except BaseException:
            os.close(self._fd)
            raise
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        inotify.read_events(self._fd)
        self._changed.set()

    async def changed_or(self, ended: asyncio.Future[Any], *, until: int) -> None:
        changed = asyncio.ensure_future(self._changed.wait())
        left = None if not until else max(0.0, (until - times.now()) / 1e9) + 0.01
        try:
            await asyncio.wait({changed, ended}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        self._changed.clear()

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
