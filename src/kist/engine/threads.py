"""Byte streams between the event loop and threads, bounded in both directions."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
PIECES = 16  # pieces that may wait in between


class ToThread:
    """An async stream of bytes as a file for a thread. `feed` runs in the loop while the thread reads."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(PIECES)
        self._rest = b""
        self._over = False

    async def feed(self, reading: Coroutine[Any, Any, T]) -> T:
        """Feed what reads it until the stream or that one ends; its result. It has ended, whatever happens here."""
        reader = asyncio.create_task(reading)
        try:
            await self._pump(reader)
            return await reader
        finally:
            self._end()
            await asyncio.wait({reader})

    async def _pump(self, reader: asyncio.Task[Any]) -> None:
        try:
            async for chunk in self._chunks:
                if chunk and not await self._put(chunk, reader):
                    return
        except Exception as error:
            await self._put(error, reader)
        await self._put(b"", reader)

    async def _put(self, item: bytes | BaseException, reader: asyncio.Task[Any]) -> bool:
        while not reader.done():
            try:
                self._queue.put_nowait(item)
                return True
            except queue.Full:
                await asyncio.sleep(0.002)
        return False

    def _end(self) -> None:
        """Wake a reader that is still waiting; it sees the end."""
        self._over = True
        try:
            self._queue.put_nowait(b"")
        except queue.Full:
            pass

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest and not self._over:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if not item:
                self._over = True
            self._rest = item
        if size < 0:
            rest = [self._rest]
            self._rest = b""
            while piece := self.read(1 << 18):
                rest.append(piece)
            return b"".join(rest)
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


class _Gone(Exception):
    """Nobody reads any more."""


class QueueSink:
    """Hands on what a thread writes, in pieces of a fair size; waits while the reader is behind."""

    def __init__(self, loop: asyncio.AbstractEventLoop, out: asyncio.Queue[bytes | BaseException | None]) -> None:
        self._loop, self._out = loop, out
        self._pending = bytearray()
        self.closed = False

    def write(self, data: bytes | memoryview, /) -> int:
        self._pending += data
        if len(self._pending) >= 1 << 17:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._pending:
            piece, self._pending = bytes(self._pending), bytearray()
            self.send(piece)

    def send(self, item: bytes | BaseException | None) -> None:
        if self.closed:
            raise _Gone
        asyncio.run_coroutine_threadsafe(self._out.put(item), self._loop).result()


async def begun(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same stream when it has got going: what goes wrong before its first piece is raised here, while a response
    still can have another status."""
    first = await anext(pieces, b"")

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return whole()


async def from_thread(write: Callable[[QueueSink], object]) -> AsyncIterator[bytes]:
    """What `write` writes to its sink in a thread, as an async stream; its error is raised here."""
    out: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(PIECES)
    sink = QueueSink(asyncio.get_running_loop(), out)

    def work() -> None:
        try:
            write(sink)
            sink.flush()
            sink.send(None)
        except _Gone:
            pass
        except Exception as error:
            if not sink.closed:
                sink.send(error)

    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        while (item := await out.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        sink.closed = True
        while not out.empty():  # let a writer that waits go on, and see that nobody reads
            out.get_nowait()
        await asyncio.wait({asyncio.ensure_future(running)}, timeout=5)
