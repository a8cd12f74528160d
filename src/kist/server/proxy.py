"""Carries a hijacked connection whose bytes are not the stream's: between its transport and a socketpair.

::

    client ══ TLS / websocket ══▶ transport ─ codec ─▶ ours ┆ theirs ──▶ whoever attached

The plain case needs none of this: the client's own socket is given away (`http.Connection._hijack`).
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from kist.server.message import Codec


class _End(asyncio.Protocol):
    """One side. What arrives is turned and written to the other, which slows this one down when it is full."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.other: _End

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.other.transport.close()  # what is still to be written is written first


class _Client(_End):
    def __init__(self, codec: Codec | None) -> None:
        super().__init__()
        self._codec = codec

    def data_received(self, data: bytes) -> None:
        if self._codec is None:
            self.other.transport.write(data)
            return
        forward, back = self._codec.decode(data)
        if forward:
            self.other.transport.write(forward)
        if back:
            self.transport.write(back)
        if self._codec.ended:  # by the client's word: it listens no more
            self.end_input()
            self.transport.close()

    def eof_received(self) -> bool:
        """The end of a websocket's connection is the client's; TLS tells the end of its input apart (tls.py)."""
        self.end_input()
        return self._codec is None

    def end_input(self) -> None:
        if not self.other.transport.is_closing():
            self.other.transport.write_eof()


class _Stream(_End):
    def __init__(self, codec: Codec | None) -> None:
        super().__init__()
        self._codec = codec

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data if self._codec is None else self._codec.encode(data))

    def eof_received(self) -> bool:
        if self._codec is not None and not self.other.transport.is_closing():
            self.other.transport.write(self._codec.end())
        return False


async def splice(transport: asyncio.Transport, codec: Codec | None, preread: bytes) -> int:
    """The descriptor of a socket that is the stream inside ``transport`` from now on (non-blocking)."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    client, stream = _Client(codec), _Stream(codec)
    client.other, stream.other = stream, client
    client.transport = transport
    try:
        await asyncio.get_running_loop().create_connection(lambda: stream, sock=ours)
    except BaseException:
        ours.close()
        theirs.close()
        raise
    transport.set_write_buffer_limits()
    transport.set_protocol(client)
    if preread:
        client.data_received(preread)
    transport.resume_reading()
    return theirs.detach()
