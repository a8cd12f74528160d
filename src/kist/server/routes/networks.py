"""Networks."""

from __future__ import annotations

from kist.api import bodies
from kist.errors import InvalidParameter
from kist.server import message
from kist.server.message import Request
from kist.server.ports import Engine


async def list_(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.networks.list(request.query.filters()))


async def inspect(request: Request, engine: Engine) -> message.Response:
    query = request.query
    return message.json(await engine.networks.inspect(request.args["id"], verbose=query.flag("verbose"),
                                                      scope=query.text("scope")))


async def map_(request: Request, engine: Engine) -> message.Response:
    """Kist's own: who can reach whom, as JSON or drawn (`format=svg`). `network`: on these networks only."""
    names, form = request.query.all("network"), request.query.text("format")
    if form == "svg":
        drawn = await engine.networks.map_as_svg(names)
        return message.Response(200, drawn.encode(), [("Content-Type", "image/svg+xml")])
    if form not in ("", "json"):
        raise InvalidParameter(f"invalid format {form!r}: json or svg")
    return message.json(await engine.networks.map(names))


async def create(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.networks.create(await request.decode(bodies.NetworkCreate)), 201)


async def remove(request: Request, engine: Engine) -> message.Response:
    await engine.networks.remove(request.args["id"])
    return message.no_content()


async def connect(request: Request, engine: Engine) -> message.Response:
    await engine.networks.connect(request.args["id"], await request.decode(bodies.NetworkConnect))
    return message.Response(200)


async def disconnect(request: Request, engine: Engine) -> message.Response:
    await engine.networks.disconnect(request.args["id"], await request.decode(bodies.NetworkDisconnect))
    return message.Response(200)


async def prune(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.networks.prune(request.query.filters()))
