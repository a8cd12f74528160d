"""TLS whose two directions end apart, as `docker run -i` and `docker exec -i` need it over TCP.

::

    socket ══▶ TlsConnection (a protocol) ─ SSLObject ─ TlsConnection (a transport) ──▶ http.Connection, proxy

A client says that its input has ended by the alert close_notify (Go's `CloseWrite`), and still reads: "It is not
required for the initiator of the close to wait for the responding close_notify alert" and the alert "does not have
any effect on [the] read side" (RFC 8446, section 6.1). asyncio's own TLS answers it by closing both. A TCP connection
that ends without the alert was cut, and counts as gone.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

HANDSHAKE = 30.0  # seconds for it
PIECE = 256 << 10
KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 20, socket.TCP_KEEPCNT: 3}


class TlsConnection(asyncio.Protocol, asyncio.Transport):
    """To the socket a protocol, to the application a transport. ``make``: the application's protocol, which hears of
    the connection when the handshake is done."""

    def __init__(self, make: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._app = cast(asyncio.Protocol, make())
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._raw: asyncio.Transport
        self._timer: asyncio.TimerHandle | None = None
        self._up = False  # the handshake is done
        self._paused = False
        self._input_ended = False
        self._output_ended = False

    # -- the socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a client whose input has ended and who vanishes
        for option, value in KEEPALIVE.items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        self._timer = self._loop.call_later(HANDSHAKE, self._raw.abort)

    def data_received(self, data: bytes) -> None:
        if self._output_ended:
            return  # nobody reads on; the client may finish its sentence
        self._incoming.write(data)
        try:
            if self._up or self._shake():
                self._read()
        except ssl.SSLError:
            self._flush()  # an alert says why
            self._raw.close()

    def eof_received(self) -> bool:
        return self._input_ended  # else it was cut: asyncio closes the socket

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._up:
            self._app.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._up:
            self._app.pause_writing()

    def resume_writing(self) -> None:
        if self._up:
            self._app.resume_writing()

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        self._flush()
        self._disarm()
        self._up = True
        self._app.connection_made(self)
        return True

    def _read(self) -> None:
        """What has come, until there is no more, or until the application has enough."""
        while not (self._paused or self._input_ended or self._raw.is_closing()):
            try:
                data = self._tls.read(PIECE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            if data:
                self._app.data_received(data)
                continue
            self._input_ended = True
            if not self._app.eof_received():
                self.close()
        self._flush()  # answers of the protocol itself

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the application's side

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if data and not self._output_ended:
            self._tls.write(data)
            self._flush()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Say that no more comes; what the client sends from now on is thrown away."""
        if self._output_ended:
            return
        self._output_ended = True
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # it would like to wait for the client's answer
            pass
        self._flush()

    def close(self) -> None:
        """What was written is still sent."""
        self.write_eof()
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        self._paused = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._raw.resume_reading()
            self._loop.call_soon(self.data_received, b"")  # what was deciphered, or came with it, already

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._app = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._app

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``sslcontext`` and ``ssl_object``, too."""
        if name == "sslcontext":
            return self._context
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)
