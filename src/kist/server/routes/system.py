"""System: ping, version, info, events, disk usage, registry log-in, and the parts that are always empty."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kist.api import bodies
from kist.errors import InvalidParameter, NotFound
from kist.server import message
from kist.server.message import Request
from kist.server.ports import Engine, Json
from kist.server.progress import stream
from kist.server.routes.images import of_version

# Clients and proxies must ask anew each time (moby api/server/router/system pingHandler). A builder of
# version 1 sends clients to `POST /build` instead of BuildKit's session.
_PING_HEADERS = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Builder-Version", "1"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
    ("Swarm", "inactive"),
]


async def ping(request: Request, engine: Engine) -> message.Response:
    return message.Response(200, b"OK" if request.method == "GET" else b"", list(_PING_HEADERS))


async def version(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.system.version())


async def info(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.system.info())


async def disk_usage(request: Request, engine: Engine) -> message.Response:
    found = await engine.system.df(request.query.all("type"))
    if found.get("Images"):
        found["Images"] = [of_version(request, image) for image in found["Images"]]
    return message.json(found)


async def auth(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.system.auth(await request.decode(bodies.AuthConfig)))


async def check(request: Request, engine: Engine) -> message.Stream:
    repair = request.query.flag("repair")
    return message.Stream(await stream(lambda progress: engine.system.check(repair=repair, progress=progress)),
                          message.JSON_TYPE)


async def events(request: Request, engine: Engine) -> message.Stream:
    query = request.query
    since, until = query.time("since"), query.time("until")
    if since is not None and until is not None and since > until:
        raise InvalidParameter(f"`since` time ({query.text('since')}) cannot be after `until` time "
                               f"({query.text('until')})")
    return message.Stream(_lines(engine.events.subscribe(since=since, until=until, filters=query.filters())),
                          message.JSON_TYPE)


async def _lines(items: AsyncIterator[Json]) -> AsyncIterator[bytes]:
    async for item in items:
        yield message.encode(item) + b"\n"


async def plugins(request: Request, engine: Engine) -> message.Response:
    """There are none, and `docker plugin ls` may say so."""
    return message.json([])


async def no_plugin(request: Request, engine: Engine) -> message.Response:
    """`docker inspect NAME` asks for a plugin of that name last, and wants to hear this."""
    raise NotFound(f'plugin "{request.args["name"]}" not found')


async def prune_builds(request: Request, engine: Engine) -> message.Response:
    """There is no build cache; `docker system prune` asks for it all the same."""
    return message.json({"CachesDeleted": None, "SpaceReclaimed": 0})
