"""Containers' streams: attach, attach by websocket, logs, wait and stats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

from kist.api.options import AttachOptions, LogOptions
from kist.errors import InvalidParameter
from kist.server import message, websocket
from kist.server.message import Request
from kist.server.ports import Engine, Json

RAW = "application/vnd.docker.raw-stream"
FRAMED = "application/vnd.docker.multiplexed-stream"
_CONDITIONS = frozenset({"not-running", "next-exit", "removed"})


def stream_type(request: Request, *, tty: bool) -> str:
    """The content type of a container's output: framed ones were named in API v1.42."""
    return RAW if tty or request.version < (1, 42) else FRAMED


def takeover_head(request: Request, *, tty: bool) -> bytes:
    """The head after which a connection is a stream: 101 if the client asked for an upgrade, else a 200
    without length (moby api/server/router/container postContainersAttach)."""
    if request.header(b"upgrade"):
        return (f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {stream_type(request, tty=tty)}\r\n"
                "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n").encode()
    return f"HTTP/1.1 200 OK\r\nContent-Type: {RAW}\r\n\r\n".encode()


def _attach_options(request: Request, *, framed: bool) -> AttachOptions:
    query = request.query
    keys = query.text("detachKeys") if "detachKeys" in query else None
    return AttachOptions(stdin=query.flag("stdin"), stdout=query.flag("stdout"), stderr=query.flag("stderr"),
                         stream=query.flag("stream"), logs=query.flag("logs"), framed=framed,
                         detach_keys=keys or None)


async def attach(request: Request, engine: Engine) -> message.Hijack:
    id = request.args["id"]
    tty = await engine.containers.attachable(id, request.query.text("detachKeys"))
    options = _attach_options(request, framed=not tty)

    async def take(fd: int, preread: bytes) -> None:
        await engine.containers.attach(id, options, fd, preread)

    return message.Hijack(takeover_head(request, tty=tty), take)


async def attach_websocket(request: Request, engine: Engine) -> message.Hijack:
    id = request.args["id"]
    key = request.header(b"sec-websocket-key")
    if request.header(b"upgrade").lower() != "websocket" or not key:
        raise InvalidParameter("the request asks for no websocket")
    await engine.containers.attachable(id, request.query.text("detachKeys"))
    options = _attach_options(request, framed=False)
    head = ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {websocket.accept_key(key)}\r\n\r\n")

    async def take(fd: int, preread: bytes) -> None:
        await engine.containers.attach(id, options, fd, preread)

    return message.Hijack(head.encode(), take, websocket.Codec(text=request.version < (1, 28)))


async def wait(request: Request, engine: Engine) -> message.Stream:
    """The head tells that the wait is registered, so a client may start the container then."""
    condition = request.query.text("condition") or "not-running"
    if condition not in _CONDITIONS:
        raise InvalidParameter(f'invalid condition: "{condition}"')
    ended = await engine.containers.wait(request.args["id"], condition)
    return message.Stream(_one(ended), message.JSON_TYPE)


async def _one(value: Awaitable[Json]) -> AsyncIterator[bytes]:
    yield message.encode(await value) + b"\n"


async def logs(request: Request, engine: Engine) -> message.Stream:
    query = request.query
    options = LogOptions(
        stdout=query.flag("stdout"), stderr=query.flag("stderr"), follow=query.flag("follow"),
        timestamps=query.flag("timestamps"), details=query.flag("details"), since=query.time("since"),
        until=query.time("until"), tail=_tail(query.text("tail")))
    if not options.stdout and not options.stderr:
        raise InvalidParameter("Bad parameters: you must choose at least one stream")
    tty, pieces = await engine.containers.logs(request.args["id"], options)
    return message.Stream(pieces, stream_type(request, tty=tty))


def _tail(text: str) -> int | None:
    """How many lines; all, as in Docker, for whatever is no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def stats(request: Request, engine: Engine) -> message.Stream:
    query = request.query
    samples = await engine.containers.stats(
        request.args["id"], stream=query.flag("stream", default=True), one_shot=query.flag("one-shot"))
    return message.Stream(_lines(samples), message.JSON_TYPE)


async def _lines(items: AsyncIterator[Json]) -> AsyncIterator[bytes]:
    async for item in items:
        yield message.encode(item) + b"\n"
