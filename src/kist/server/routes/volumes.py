"""Volumes."""

from __future__ import annotations

from kist.api import bodies
from kist.server import message
from kist.server.message import Request
from kist.server.ports import Engine


async def list_(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.volumes.list(request.query.filters()))


async def inspect(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.volumes.inspect(request.args["name"]))


async def create(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.volumes.create(await request.decode(bodies.VolumeCreate)), 201)


async def remove(request: Request, engine: Engine) -> message.Response:
    await engine.volumes.remove(request.args["name"], force=request.query.flag("force"))
    return message.no_content()


async def prune(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.volumes.prune(request.query.filters()))
