"""Progress of a long piece of work as a stream of JSON lines.

What fails before the first line is an error of the request, with its status; afterwards the status is out,
and the error is the stream's last line (moby ``streamformatter.FormatError``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from kist.api import progress
from kist.errors import KistError
from kist.server import message
from kist.server.ports import Progress

log = logging.getLogger("kist.api")

_BACKLOG = 256  # lines; beyond it a slow client is spared the bars


class _Lines:
    """The lines between the work and the client."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._ready = asyncio.Event()
        self._ended = False

    def add(self, line: progress.Message) -> None:
        if len(self._lines) >= _BACKLOG and progress.is_bar(line):
            return
        self._lines.append(message.encode(line) + b"\r\n")
        self._ready.set()

    def end(self) -> None:
        self._ended = True
        self._ready.set()

    async def take(self) -> bytes:
        """What has gathered since; b"" at the end."""
        await self._ready.wait()
        taken = b"".join(self._lines)
        self._lines.clear()
        if not self._ended:
            self._ready.clear()
        return taken

    async def some(self) -> None:
        await self._ready.wait()

    @property
    def empty(self) -> bool:
        return not self._lines


async def stream(work: Callable[[Progress], Awaitable[None]]) -> AsyncIterator[bytes]:
    """Begin ``work`` and return its lines once there is one; raises what fails before that.

    The work is cancelled when the client vanishes.
    """
    lines = _Lines()

    async def run() -> None:
        try:
            await work(lines.add)
        finally:
            lines.end()

    task = asyncio.create_task(run())
    try:
        await lines.some()
        if lines.empty:
            await task
    except BaseException:
        task.cancel()
        raise
    return _lines(task, lines)


async def _lines(task: asyncio.Task[None], lines: _Lines) -> AsyncIterator[bytes]:
    try:
        while piece := await lines.take():
            yield piece
        try:
            await task
        except KistError as exc:
            yield message.encode(progress.error(exc.message)) + b"\r\n"
        except Exception:
            log.exception("work behind a progress stream failed")
            yield message.encode(progress.error("internal error: the server's log tells more")) + b"\r\n"
    finally:
        task.cancel()
