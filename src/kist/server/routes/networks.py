"""Networks."""

from __future__ import annotations

import msgspec

from kist.api import bodies
from kist.server import message
from kist.server.message import Request
from kist.server.ports import Engine


async def list_(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.networks.list(request.query.filters()))


async def inspect(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.networks.inspect(request.args["id"]))


async def create(request: Request, engine: Engine) -> message.Response:
    body = await request.decode(bodies.NetworkCreate)
    return message.json(await engine.networks.create(msgspec.to_builtins(body)), 201)


async def remove(request: Request, engine: Engine) -> message.Response:
    await engine.networks.remove(request.args["id"])
    return message.no_content()
