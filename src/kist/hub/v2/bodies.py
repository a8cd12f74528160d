"""Bodies on their way: blobs out (by sendfile where the server offers it), uploads in (hashed in a thread)."""

from __future__ import annotations

import asyncio
import os
import re
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kist.hub.content import Content, too_large
from kist.hub.errors import BrokenOff, HubError
from kist.hub.upstream import Fetch

#: Received bytes are handed to a worker thread (write and hash) in batches of this size.
BATCH = 1 << 20
READ = 1 << 20
ZERO_COPY = "http.response.zerocopysend"  # ASGI extension


class BlobResponse(Response):
    """``length`` bytes of ``file`` from ``start`` on; owns the file."""

    def __init__(self, file: BinaryIO, start: int, length: int, status: int, headers: dict[str, str]) -> None:
        super().__init__(status_code=status, headers=headers)
        del self.headers["content-length"]
        self.headers["content-length"] = str(length)
        self._file = file
        self._start = start
        self._length = length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD" or not self._length:
                await send({"type": "http.response.body", "body": b""})
            elif ZERO_COPY in scope.get("extensions", {}) and _is_real(self._file):
                await self._send_file(send)
            else:
                await self._send_pieces(send)
        finally:
            self._file.close()

    async def _send_file(self, send: Send) -> None:
        descriptor = self._file.fileno()
        os.posix_fadvise(descriptor, self._start, self._length, os.POSIX_FADV_WILLNEED)
        await send({"type": ZERO_COPY, "file": self._file, "offset": self._start, "count": self._length})
        await send({"type": "http.response.body", "body": b""})

    async def _send_pieces(self, send: Send) -> None:
        self._file.seek(self._start)
        left = self._length
        while left:
            piece = await run_in_threadpool(self._file.read, min(READ, left))
            if not piece:
                raise BrokenOff("the blob is shorter than its record")
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": bool(left)})


def _is_real(file: BinaryIO) -> bool:
    """Whether the kernel knows the file: other storages give what only reads like one."""
    try:
        file.fileno()
    except (AttributeError, OSError):  # io.UnsupportedOperation is an OSError
        return False
    return True


class IncomingResponse(Response):
    """A blob that is still being fetched: its bytes as they come in; breaks off where the fetch fails."""

    def __init__(self, file: BinaryIO, fetch: Fetch, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        del self.headers["content-length"]
        self.headers["content-length"] = str(fetch.size)
        self._file = file
        self._fetch = fetch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            offset = 0
            while offset < self._fetch.size:
                await self._fetch.more_than(offset)
                available = self._fetch.offset - offset
                if available <= 0:
                    raise BrokenOff(str(self._fetch.error))
                piece = await run_in_threadpool(self._file.read, min(READ, available))
                offset += len(piece)
                if offset == self._fetch.size:
                    await self._verified()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()

    async def _verified(self) -> None:
        """The last piece leaves only when the digest was right: nobody gets wrong bytes as a whole body."""
        try:
            await self._fetch.whole()
        except Exception as error:
            raise BrokenOff(str(error)) from None


def is_known(request: Request, etag: str) -> bool:
    """Whether the client says that it has this (If-None-Match; RFC 9110, 13.1.2)."""
    entries = [entry.strip().removeprefix("W/") for entry in request.headers.get("if-none-match", "").split(",")]
    return etag in entries or entries == ["*"]


def wanted_range(request: Request, etag: str) -> str | None:
    """The Range header, unless it is for another content than this (If-Range; RFC 9110, 13.1.5)."""
    return request.headers.get("range") if request.headers.get("if-range", etag) == etag else None


_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(start, length) of a Range header, None to send everything; raises 416 for one out of bounds.

    Several ranges, or a form that is not known, are ignored, as RFC 9110 (section 14.2) allows.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        start, end = max(size - int(last), 0), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
    backwards = first != "" and last != "" and int(last) < int(first)  # may be ignored or refused, too (14.2)
    if start >= size or backwards or (first == "" and int(last) == 0):
        raise HubError("RANGE_INVALID", "the range lies outside of the blob",
                       headers={"Content-Range": f"bytes */{size}"})
    return start, end - start + 1


async def receive_upload(content: Content, upload: str, offset: int, request: Request) -> int:
    """Append the request's body to the upload; returns its new size.

    One batch is written and hashed in a worker thread while the next one is received. What has been
    received of a request that breaks off is kept, so that the client can go on from there.
    """
    announced = request.headers.get("content-length", "")
    if content.max_blob and announced.isdigit() and offset + int(announced) > content.max_blob:
        raise too_large(content.max_blob)
    pieces: list[bytes] = []
    waiting = 0
    job: asyncio.Future[int] | None = None
    try:
        async for piece in request.stream():
            pieces.append(piece)
            waiting += len(piece)
            if waiting >= BATCH:
                offset = await job if job is not None else offset
                job = asyncio.ensure_future(run_in_threadpool(content.append, upload, offset, pieces))
                pieces, waiting = [], 0
    except ClientDisconnect:
        await _finish(content, upload, offset, job, pieces)
        raise
    return await _finish(content, upload, offset, job, pieces)


async def _finish(
    content: Content, upload: str, offset: int, job: asyncio.Future[int] | None, pieces: list[bytes]
) -> int:
    offset = await job if job is not None else offset
    return await run_in_threadpool(content.append, upload, offset, pieces) if any(pieces) else offset


async def receive_bounded(request: Request, limit: int, error: HubError) -> bytes:
    """A small body as a whole; ``error`` where it is longer than ``limit``."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise error
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise error
    return bytes(body)
