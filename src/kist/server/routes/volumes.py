"""Volumes."""

from __future__ import annotations

from kist.api import bodies
from kist.errors import InvalidParameter
from kist.server import message
from kist.server.message import Request
from kist.server.ports import Engine


async def list_(request: Request, engine: Engine) -> message.Response:
    try:
        filters = request.query.filters()
    except InvalidParameter as error:
        raise InvalidParameter(f"error reading volume filters: {error.message}") from None
    return message.json(await engine.volumes.list(filters))


async def inspect(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.volumes.inspect(request.args["name"]))


async def create(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.volumes.create(await request.decode(bodies.VolumeCreate)), 201)


async def export(request: Request, engine: Engine) -> message.Stream:
    return message.Stream(await engine.volumes.export(request.args["name"]), "application/x-tar")


async def import_(request: Request, engine: Engine) -> message.Response:
    await engine.volumes.import_(request.args["name"], request.chunks())
    return message.no_content()


async def snapshot(request: Request, engine: Engine) -> message.Response:
    query = request.query
    pause = query.flag("pause", default=True)
    return message.json(await engine.volumes.snapshot(request.args["name"], query.text("name"), pause=pause), 201)


async def restore(request: Request, engine: Engine) -> message.Response:
    source = request.query.text("from")
    if not source:
        raise InvalidParameter("bad parameter: from cannot be empty")
    return message.json(await engine.volumes.restore(request.args["name"], source))


async def remove(request: Request, engine: Engine) -> message.Response:
    await engine.volumes.remove(request.args["name"], force=request.query.flag("force"))
    return message.no_content()


async def prune(request: Request, engine: Engine) -> message.Response:
    filters = request.query.filters()
    if request.version < (1, 42):
        filters.setdefault("all", ["true"])  # anonymous ones alone since then
    return message.json(await engine.volumes.prune(filters))
