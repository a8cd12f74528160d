"""A request as handlers see it, and the kinds of answers they give back.

=============  ========================================================================
`Response`     a status and a whole body
`Stream`       the head at once, then pieces, each sent as it comes
`Hijack`       the connection itself goes to somebody else (attach, exec, websocket)
=============  ========================================================================
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec

from kist.api import bodies
from kist.api.query import Query
from kist.api.versions import Version
from kist.errors import InvalidParameter

BODY_LIMIT = 4 << 20
"""Bytes of a body that is decoded as a whole; streamed bodies (archives, images) have no limit here."""

JSON_TYPE = "application/json"
Headers = list[tuple[str, str]]
encode = msgspec.json.Encoder().encode

SKIPPED = 256 << 10
B = TypeVar("B", bound=bodies.Body)


class BodySource(Protocol):
    """Where a request's body comes from: the connection."""

    async def read_body(self) -> bytes:
        """The next piece of the body, b"" at its end."""


class Request:
    """One request; ``path`` is without the version's prefix, ``args`` are the pattern's values."""

    __slots__ = ("_source", "args", "headers", "method", "path", "query", "version")

    def __init__(self, method: str, path: str, query: Query, version: Version,
                 headers: list[tuple[bytes, bytes]], source: BodySource) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.version = version
        self.headers = headers
        self.args: dict[str, str] = {}
        self._source = source

    def header(self, name: bytes) -> str:
        """A header's value, "" if it is missing; ``name`` in lower case."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives."""
        while piece := await self._source.read_body():
            yield piece

    async def body(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole body; raises InvalidParameter if it is longer than ``limit`` bytes."""
        whole = await self._source.read_body()
        while piece := await self._source.read_body() if whole else b"":
            whole += piece
            if len(whole) > limit:
                break
        if len(whole) > limit:
            raise InvalidParameter(f"the request's body is longer than {limit} bytes")
        return whole

    async def skip(self) -> None:
        """Take what is left of a body of a fair size, before a refusal: a client that is still sending it would take
        the refusal for a broken connection."""
        left = SKIPPED
        while left > 0 and (piece := await self._source.read_body()):
            left -= len(piece)

    async def decode(self, kind: type[B]) -> B:
        return bodies.decode(kind, await self.body())


class Response:
    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int = 200, body: bytes = b"", headers: Headers | None = None) -> None:
        self.status = status
        self.body = body
        self.headers: Headers = [] if headers is None else headers


class Stream:
    """``pieces`` is closed when the client vanishes; empty pieces are not sent."""

    __slots__ = ("headers", "pieces", "status")

    def __init__(self, pieces: AsyncIterator[bytes], content_type: str, headers: Headers | None = None) -> None:
        self.status = 200
        self.pieces = pieces
        self.headers: Headers = [("Content-Type", content_type), *(headers or [])]


class Codec(Protocol):
    """How the bytes on the wire and those of a hijacked stream are turned into each other."""

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        """(what the stream gets, what goes back to the client)."""

    @property
    def ended(self) -> bool:
        """Whether the client has closed the conversation, or broken its rules."""

    def encode(self, data: bytes) -> bytes: ...

    def end(self) -> bytes:
        """What the client is sent when the stream ends."""


class Hijack:
    """After ``head`` is written, ``take(fd, preread)`` owns the connection.

    ``fd`` is a duplicate of the client's socket, or one end of a socketpair where the bytes on the wire are
    not the stream's own (TLS, websocket). ``preread`` is what the client had sent behind the request.
    """

    __slots__ = ("codec", "head", "take")

    def __init__(self, head: bytes, take: Callable[[int, bytes], Awaitable[None]],
                 codec: Codec | None = None) -> None:
        self.head = head
        self.take = take
        self.codec = codec


Answer = Response | Stream | Hijack


def json(value: Any, status: int = 200) -> Response:
    """With a newline behind it, as Go's encoder writes it: people read answers with curl."""
    return Response(status, encode(value) + b"\n", [("Content-Type", JSON_TYPE)])


def no_content() -> Response:
    return Response(204)


def error(status: int, message: str) -> Response:
    """Docker's shape of an error; 304 has no body."""
    return Response(304) if status == 304 else json({"message": message}, status)
