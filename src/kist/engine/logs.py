"""`docker logs`: a container's log from the end, by time, following, across rotation. Starts and stops nothing.

The files are logfiles.py's, what is in them logformats.py's. Work is done in batches of `BLOCK` bytes in threads:
decoding a record costs less than handing it over would.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from kist.api import frames
from kist.engine import times
from kist.engine.logfiles import LogFiles
from kist.engine.logformats import FORMATS, Format
from kist.linux import inotify

_STREAMS = {"stdout": frames.STDOUT, "stderr": frames.STDERR}


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


def render(records: list[Any], wanted: Wanted) -> tuple[bytes, bool]:
    """The bytes for the client, and whether `until` was passed (nothing later need be read)."""
    out: list[bytes] = []
    streams = {name: number for name, number in _STREAMS.items() if getattr(wanted, name)}
    timed, prefixed = bool(wanted.since or wanted.until), wanted.timestamps or wanted.details
    for record in records:
        if timed:
            at = record.at
            if at < wanted.since:
                continue
            if wanted.until and at > wanted.until:
                return b"".join(out), True
        stream = streams.get(record.stream)
        if stream is None:
            continue
        data = record.data
        if prefixed:
            data = _prefix(record, wanted) + data
        if wanted.framed:
            out.append(frames.header(stream, len(data)))
        out.append(data)
    return b"".join(out), False


def _prefix(record: Any, wanted: Wanted) -> bytes:
    words = []
    if wanted.timestamps:
        words.append(times.rfc3339_fixed(record.at))
    if wanted.details:
        words.append(",".join(f"{key}={value}" for key, value in sorted((record.attrs or {}).items())))
    return (" ".join(words) + " ").encode("utf-8", "replace")


async def read_log(path: str, wanted: Wanted, *, driver: str = "json-file",
                   ended: asyncio.Future[Any] | None = None) -> AsyncIterator[bytes]:
    """The log as bytes for the client. With `ended`, follow until that is done and all was read."""
    form = FORMATS[driver]
    files = LogFiles(path, form)
    watch = _Watch(os.path.dirname(path)) if ended is not None else None
    try:
        await asyncio.to_thread(files.start, tail=wanted.tail, since=wanted.since)
        while True:
            last_round = ended is None or ended.done()
            while True:
                data, more, over = await asyncio.to_thread(_next, files, form, wanted)
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


def _next(files: LogFiles, form: Format, wanted: Wanted) -> tuple[bytes, bool, bool]:
    """(bytes, whether more may wait, whether `until` was passed)"""
    block = files.read()
    if block is None:
        return b"", False, False
    data, over = render(form.parse(block), wanted)
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
