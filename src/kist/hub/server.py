"""uvicorn, taught to send files without copying them through Python (ASGI's zero-copy send extension).

h11 lets the caller write a body itself, as long as it is told its length (h11: "sendfile support"); asyncio's
`loop.sendfile` does it on the transport's socket, and falls back to reading where there is TLS.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from kist.hub.errors import BrokenOff

log = logging.getLogger("kist.hub")
ZERO_COPY = "http.response.zerocopysend"
#: A slice of a file must leave within so many seconds, else the client is gone for us (11 kB/s).
SLICE, SLICE_SECONDS = 4 << 20, 360.0
KEEP_ALIVE = 30
#: A request's head must be whole within so many seconds, and its body must not pause for longer than that.
HEAD_SECONDS, BODY_SECONDS = 30.0, 120.0
#: So much of a body is read and thrown away after the answer (a refusal): cutting at once could lose the answer.
MOST_DISCARDED = 64 << 20
GRACE = 30  # seconds that answers in progress get after SIGTERM


class _Counted:
    """Stands for ``length`` bytes in h11's books."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


class ZeroCopyProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with ``http.response.zerocopysend`` offered to the application."""

    head_seconds, body_seconds = HEAD_SECONDS, BODY_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_since: float | None = None  # when the head that is not whole yet was begun
        self._received_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._discarded = 0
        self.app = cast("Any", self._offering(cast("ASGIApp", self.app)))

    # --- slow clients (uvicorn waits for a head and a body for ever) ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_since = self._received_at = self.loop.time()
        self._watch = self.loop.call_later(self.head_seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received_at = self.loop.time()
        if self._head_since is None and self.conn.their_state is h11.IDLE:
            self._head_since = self._received_at
        answered = self.conn.our_state in (h11.DONE, h11.MUST_CLOSE) and self.conn.their_state is h11.SEND_BODY
        self._discarded = self._discarded + len(data) if answered else 0
        if self._discarded > MOST_DISCARDED:
            self.transport.abort()
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_since = None

    def _look(self) -> None:
        now = self.loop.time()
        late = self._head_since is not None and now - self._head_since >= self.head_seconds
        waiting = self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused
        if late or (waiting and now - self._received_at >= self.body_seconds):
            self.transport.abort()
            return
        self._watch = self.loop.call_later(min(self.head_seconds, self.body_seconds) / 2, self._look)

    # --- files ---

    def _offering(self, app: ASGIApp) -> ASGIApp:
        async def offered(scope: Scope, receive: Receive, send: Send) -> None:
            if _is_ambiguous(scope):
                await send({"type": "http.response.start", "status": 400, "headers": [(b"connection", b"close")]})
                await send({"type": "http.response.body", "body": b"a request has one host, and its body one length\n"})
                return
            scope.setdefault("extensions", {})[ZERO_COPY] = {}

            async def send_or_copy(message: Message) -> None:
                if message["type"] == ZERO_COPY:
                    await self._send_file(message)
                else:
                    await send(message)

            try:
                await app(scope, receive, send_or_copy)
            except BrokenOff as error:
                log.warning("%s: %s", scope["path"], error)
                self._break_off()
        return offered

    def _break_off(self) -> None:
        self.cycle.disconnected = True
        self.transport.abort()

    async def _send_file(self, message: Message) -> None:
        cycle = self.cycle
        if cycle.disconnected or self.transport.is_closing():
            return
        file, start, count = message["file"], message["offset"], message["count"]
        self.conn.send_with_data_passthrough(h11.Data(data=cast("Any", _Counted(count))))
        try:
            while count:
                size = min(count, SLICE)
                sent = await asyncio.wait_for(self.loop.sendfile(self.transport, file, start, size), SLICE_SECONDS)
                if not sent:
                    raise OSError("the file is shorter than announced")
                start, count = start + sent, count - sent
        except (OSError, RuntimeError, TimeoutError):
            # The client has gone, or can't be told otherwise that its bytes won't come.
            self._break_off()


_HOST = re.compile(rb"(\[[0-9a-fA-F:.]+\]|[^\[\]/@?#\s]*)(:\d*)?")


def _is_ambiguous(scope: Scope) -> bool:
    """Two lengths: what a proxy takes for the next request may differ (RFC 9112, 6.1); a Host that is none (3.2)."""
    headers = dict(scope.get("headers", ()))
    two = b"content-length" in headers and b"transfer-encoding" in headers
    return two or not _HOST.fullmatch(headers.get(b"host", b""))


def bind_unix(path: str) -> socket.socket:
    """A listening place for the owner and the group; a socket that a killed server left is replaced."""
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    return listener


class Server(uvicorn.Server):
    """uvicorn, which says where it listens (port 0 is answered with a free one)."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but that a Hub which was asked to end has ended well: it does not raise the signal again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)
        for server in self.servers:
            for sock in server.sockets:
                log.info("listening on %s", _address(sock.getsockname()))


    def reload(self) -> None:
        """SIGHUP: new connections get the certificate that is there now; what is wrong with it is logged."""
        if self.config.ssl is None:
            return
        try:
            fresh = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # a broken pair must not take half of the old one's place
            fresh.load_cert_chain(str(self.config.ssl_certfile), self.config.ssl_keyfile)
            self.config.ssl.load_cert_chain(str(self.config.ssl_certfile), self.config.ssl_keyfile)
        except OSError as error:
            log.error("%s: %s; the old certificate stays", self.config.ssl_certfile, error)
        else:
            log.info("read %s again", self.config.ssl_certfile)


def _address(name: Any) -> str:
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)


def make_server(
    app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0, certificate: str = "", key: str = "",
    proxies: str = "127.0.0.1",
) -> Server:
    """A server for one address; ``certificate`` and ``key`` (PEM files) turn TLS on."""
    config = uvicorn.Config(
        app, host=host, port=port, loop="asyncio", http=ZeroCopyProtocol, ws="none", lifespan="on",
        access_log=False, log_config=None, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=GRACE,
        h11_max_incomplete_event_size=64 << 10, server_header=False, date_header=True, backlog=1024,
        ssl_certfile=certificate or None, ssl_keyfile=key or None, proxy_headers=True, forwarded_allow_ips=proxies,
        ssl_version=ssl.PROTOCOL_TLS_SERVER)
    return Server(config)
