"""One HTTP/1.1 connection of the Engine API: h11 parses, asyncio's transport carries.

::

             data_received            _begin
    socket ───────────────▶ h11 ──────────────▶ task: app(request) ──────▶ Response │ Stream │ Hijack
                             │ Data                    ▲                       │        │         │
                             └───────▶ body queue ─────┘ read_body             └────────┴─▶ h11 ──┴─▶ socket

One request is served at a time; what a pipelining client sends meanwhile waits in h11's buffer, and reading
stops beyond a bound. A client that vanishes cancels its request's task, a client that has only shut its
sending side does not (`shutdown(SHUT_WR)` is how attach says that stdin has ended).

A hijack takes the socket out of asyncio altogether: flush, stop reading, duplicate the descriptor, close the
transport. What h11 had read beyond the request goes along (``trailing_data``).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple, cast

import h11

from kist.errors import KistError
from kist.server import message, proxy
from kist.server.hangup import HangupWatch, is_half_closed

log = logging.getLogger("kist.http")

HEAD_LIMIT = 128 << 10  # bytes of a request's head; registry credentials travel in a header
BUFFER_LIMIT = 256 << 10  # unread bytes of a body, or pipelined ones, before reading stops


class Timeouts(NamedTuple):
    """Seconds."""

    head: float = 30.0  # from a request's first byte to the end of its head
    idle: float = 600.0  # without any request
    body: float = 300.0  # without a byte of a body that was announced
    linger: float = 5.0  # of reading on what a client still sends after an early answer


App = Callable[[h11.Request, message.BodySource], Awaitable[message.Answer]]


_REASONS = {
    200: b"OK", 201: b"Created", 204: b"No Content", 304: b"Not Modified", 400: b"Bad Request",
    401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found", 409: b"Conflict",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 501: b"Not Implemented",
    503: b"Service Unavailable",
}


class BodyLost(ConnectionError):
    """The client vanished, or sent nonsense, in the middle of its request's body."""


class Connection(asyncio.Protocol):
    """``app`` raises nothing but BodyLost and cancellation; ``open_ones`` is the server's set of connections."""

    def __init__(self, app: App, open_ones: set[Connection], timeouts: Timeouts) -> None:
        self._app = app
        self._timeouts = timeouts
        self._open_ones = open_ones
        self._loop = asyncio.get_running_loop()
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._head_only = False
        self._pieces: deque[bytes] = deque()
        self._unread = 0  # bytes that were received and not consumed: of the body, or pipelined
        self._body_done = False
        self._body_waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._in_head = False
        self._ending = False
        self._eof = False
        self._lingering = False
        self._hijacked = False
        self._hangup: HangupWatch | None = None

    # -- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._open_ones.add(self)
        self._arm(self._timeouts.idle)

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        self._h11.receive_data(data)
        if self._body_done:
            self._unread += len(data)  # pipelined: it stays with h11
        else:
            self._pump()
        if self._unread > BUFFER_LIMIT:
            self._transport.pause_reading()
        elif self._task is None and not self._in_head and not self._lingering:
            self._in_head = True
            self._arm(self._timeouts.head)

    def eof_received(self) -> bool:
        if self._task is None or self._lingering or not is_half_closed(self._transport):
            return False  # asyncio closes the transport
        self._eof = True
        self._h11.receive_data(b"")
        self._pump()
        self._hangup = HangupWatch(self._transport, self._transport.abort)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._stop_watching()
        if self._hijacked:
            return
        self._open_ones.discard(self)
        _wake(self._body_waiter)
        _wake(self._writable)
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        _wake(self._writable)
        self._writable = None

    def end_soon(self) -> None:
        """The server shuts down: no request after the present one."""
        self._ending = True
        if self._task is None:
            self._transport.close()

    @property
    def task(self) -> asyncio.Task[None] | None:
        return self._task

    # -- requests

    def _pump(self) -> None:
        """Take from h11 what it has understood, up to the end of one request."""
        try:
            while not self._body_done:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._pieces.append(bytes(event.data))
                    self._unread += len(event.data)
                    _wake(self._body_waiter)
                elif isinstance(event, h11.EndOfMessage):
                    self._body_done = True
                    _wake(self._body_waiter)
                else:  # NEED_DATA, PAUSED, ConnectionClosed
                    if self._task is None and isinstance(event, h11.ConnectionClosed):
                        self._transport.close()
                    return
        except h11.RemoteProtocolError as exc:
            if self._task is None:
                self._refuse(exc)
            else:
                _wake(self._body_waiter)  # its reader finds h11 in its error state

    def _begin(self, event: h11.Request) -> None:
        self._disarm()
        self._in_head = False
        self._head_only = event.method == b"HEAD"
        self._task = self._loop.create_task(self._serve(event))

    async def _serve(self, event: h11.Request) -> None:
        try:
            answer = await self._app(event, self)
            if isinstance(answer, message.Hijack):
                await self._hijack(answer)
                return
            if isinstance(answer, message.Stream):
                await self._stream(answer)
            else:
                self._respond(answer)
            self._next()
        except (ConnectionError, asyncio.CancelledError):
            self._transport.abort()
        except KistError as exc:  # the container ended between the answer's head and the attach
            log.info("the stream was refused target=%s error=%s", event.target.decode("latin-1"), exc.message)
            self._transport.abort()
        except Exception:
            log.exception("sending the answer failed target=%s", event.target.decode("latin-1"))
            self._transport.abort()

    async def read_body(self) -> bytes:
        """The next piece of the request's body, b"" at its end; raises BodyLost."""
        while not self._pieces:
            if self._body_done:
                return b""
            if self._transport.is_closing() or self._h11.their_state in (h11.ERROR, h11.CLOSED):
                raise BodyLost("the client vanished in the middle of its request")
            if self._h11.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            self._body_waiter = self._loop.create_future()
            self._arm(self._timeouts.body)
            await self._body_waiter
            self._disarm()
        piece = self._pieces.popleft()
        self._unread -= len(piece)
        if self._unread <= BUFFER_LIMIT // 2:
            self._transport.resume_reading()
        return piece

    # -- answers

    def _respond(self, answer: message.Response) -> None:
        headers = answer.headers
        if answer.status not in (204, 304):
            headers = [*headers, ("Content-Length", str(len(answer.body)))]
        parts = [self._h11.send(h11.Response(status_code=answer.status, headers=headers,
                                             reason=_REASONS.get(answer.status, b"")))]
        if answer.body and not self._head_only:
            parts.append(self._h11.send(h11.Data(data=answer.body)))
        parts.append(self._h11.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part for part in parts if part))

    async def _stream(self, answer: message.Stream) -> None:
        self._send(h11.Response(status_code=200, headers=answer.headers, reason=b"OK"))
        try:
            if not self._head_only:
                async for piece in answer.pieces:
                    if piece:
                        self._send(h11.Data(data=piece))
                        if self._writable is not None:
                            await self._drained()
        finally:
            if isinstance(answer.pieces, AsyncGenerator):
                await answer.pieces.aclose()
        self._send(h11.EndOfMessage())

    def _send(self, event: h11.Event) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the client vanished")
        data = self._h11.send(event)
        if data:
            self._transport.write(data)

    async def _drained(self) -> None:
        while self._writable is not None:
            if self._transport.is_closing():
                raise ConnectionResetError("the client vanished")
            await asyncio.shield(self._writable)

    def _next(self) -> None:
        """On to the connection's next request, or its end."""
        self._task = None
        if self._transport.is_closing():
            return
        if self._h11.their_state in (h11.SEND_BODY, h11.ERROR):
            self._linger()
        elif self._ending:
            self._transport.close()
        elif self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._pieces.clear()
            self._unread = 0
            self._body_done = False
            self._arm(self._timeouts.idle)
            self._transport.resume_reading()
            self._pump()
        else:
            self._transport.close()

    def _refuse(self, exc: h11.RemoteProtocolError) -> None:
        """What the client sent is no HTTP."""
        self._disarm()
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._respond(message.error(exc.error_status_hint, f"invalid request: {exc}"))
        self._linger()

    def _linger(self) -> None:
        """Close, but let the client read its answer first.

        It still sends. Closing a socket with unread bytes makes the kernel drop what the client has not
        read yet (ECONNRESET), so shut our side and read on for a while.
        """
        self._lingering = True
        if self._eof or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()
        self._arm(self._timeouts.linger)

    # -- hijack

    async def _hijack(self, answer: message.Hijack) -> None:
        """Write the head and give the connection away, with what was read beyond the request."""
        self._transport.set_write_buffer_limits(high=0)
        self._transport.write(answer.head)
        await self._drained()
        self._transport.pause_reading()
        if self._transport.is_closing():
            raise ConnectionResetError("the client vanished")
        preread = self._h11.trailing_data[0]
        self._hijacked = True
        self._disarm()
        self._stop_watching()
        plain = self._transport.get_extra_info("sslcontext") is None
        try:
            if plain and answer.codec is None:
                fd = os.dup(self._transport.get_extra_info("socket").fileno())
                self._transport.abort()  # closes its own descriptor; the connection lives on in ours
            else:
                fd, preread = await proxy.splice(self._transport, answer.codec, preread), b""
            await answer.take(fd, preread)
        finally:
            self._open_ones.discard(self)

    # -- time limits and watches

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, self._transport.abort)

    def _stop_watching(self) -> None:
        if self._hangup is not None:
            self._hangup.stop()
            self._hangup = None

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
