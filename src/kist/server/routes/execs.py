"""Execs: further commands in running containers."""

from __future__ import annotations

import os

from kist.api import bodies, frames
from kist.engine.heads import head_is_read
from kist.errors import InvalidParameter, KistError
from kist.server import message
from kist.server.message import Request
from kist.server.ports import Engine
from kist.server.routes.containers import window
from kist.server.routes.streams import takeover_head


async def create(request: Request, engine: Engine) -> message.Response:
    body = await request.decode(bodies.ExecCreate)
    if not body.Cmd:
        raise InvalidParameter("No exec command specified")
    return message.json({"Id": await engine.execs.create(request.args["id"], body)}, 201)


async def start(request: Request, engine: Engine) -> message.Answer:
    id = request.args["id"]
    body = await request.decode(bodies.ExecStart)
    tty = await engine.execs.startable(id)
    if body.Detach:
        await engine.execs.start(id, fd=None, preread=b"", tty=tty, framed=False,
                                 console_size=body.ConsoleSize)
        return message.Response(200)

    async def take(fd: int, preread: bytes) -> None:
        ours = os.dup(fd)  # the engine closes its own when it fails
        try:
            await engine.execs.start(id, fd=fd, preread=preread, tty=tty, framed=not tty,
                                     console_size=body.ConsoleSize)
        except KistError as exc:
            await head_is_read(ours)
            _tell(ours, f"{exc.message}\r\n".encode(), framed=not tty)
        finally:
            os.close(ours)

    return message.Hijack(takeover_head(request, tty=tty), take)


def _tell(fd: int, text: bytes, *, framed: bool) -> None:
    """The head is out, so an error is told on the stream, as Docker does; a full socket goes without."""
    try:
        os.write(fd, frames.frame(frames.STDOUT, text) if framed else text)
    except OSError:
        pass


async def inspect(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.execs.inspect(request.args["id"]))


async def resize(request: Request, engine: Engine) -> message.Response:
    await engine.execs.resize(request.args["id"], *window(request))
    return message.Response(200)
