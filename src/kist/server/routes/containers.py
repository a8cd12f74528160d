"""Containers: everything that is asked and answered at once (streams are in `streams.py`, files in `archive.py`)."""

from __future__ import annotations

from kist.api import bodies, names
from kist.errors import InvalidParameter
from kist.server import message
from kist.server.message import Request
from kist.server.ports import Engine


async def list_(request: Request, engine: Engine) -> message.Response:
    query = request.query
    return message.json(await engine.containers.list(
        all=query.flag("all"), limit=max(0, query.number("limit")), size=query.flag("size"),
        filters=query.filters()))


async def create(request: Request, engine: Engine) -> message.Response:
    query = request.query
    name = query.text("name")
    body = await request.decode(bodies.ContainerCreate)
    if request.version < (1, 45) and any(mount.VolumeOptions and mount.VolumeOptions.Subpath for mount in
                                         (body.HostConfig and body.HostConfig.Mounts) or ()):
        raise InvalidParameter("VolumeOptions.Subpath needs API v1.45 or newer")
    made = await engine.containers.create(names.container(name) if name else "", body,
                                          platform=query.text("platform"), writable_below=request.version < (1, 44))
    return message.json(made, 201)


async def inspect(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.containers.inspect(request.args["id"], size=request.query.flag("size")))


async def start(request: Request, engine: Engine) -> message.Response:
    await engine.containers.start(request.args["id"])
    return message.no_content()


async def stop(request: Request, engine: Engine) -> message.Response:
    query = request.query
    await engine.containers.stop(request.args["id"], query.number_or_none("t"), query.text("signal") or None)
    return message.no_content()


async def restart(request: Request, engine: Engine) -> message.Response:
    query = request.query
    await engine.containers.restart(request.args["id"], query.number_or_none("t"), query.text("signal") or None)
    return message.no_content()


async def kill(request: Request, engine: Engine) -> message.Response:
    await engine.containers.kill(request.args["id"], request.query.text("signal") or "SIGKILL")
    return message.no_content()


async def pause(request: Request, engine: Engine) -> message.Response:
    await engine.containers.pause(request.args["id"])
    return message.no_content()


async def unpause(request: Request, engine: Engine) -> message.Response:
    await engine.containers.unpause(request.args["id"])
    return message.no_content()


async def rename(request: Request, engine: Engine) -> message.Response:
    name = request.query.text("name")
    if not name:
        raise InvalidParameter("Neither old nor new names may be empty")
    await engine.containers.rename(request.args["id"], name)
    return message.no_content()


async def remove(request: Request, engine: Engine) -> message.Response:
    query = request.query
    if query.flag("link"):
        await engine.containers.unlink(request.args["id"])
        return message.no_content()
    await engine.containers.remove(request.args["id"], force=query.flag("force"), volumes=query.flag("v"))
    return message.no_content()


async def resize(request: Request, engine: Engine) -> message.Response:
    await engine.containers.resize(request.args["id"], *window(request))
    return message.Response(200)


def window(request: Request) -> tuple[int, int]:
    """(height, width) of a terminal, each an unsigned 16 bit number."""
    height, width = request.query.number("h"), request.query.number("w")
    for name, value in (("h", height), ("w", width)):
        if not 0 <= value <= 0xFFFF:
            raise InvalidParameter(f'invalid value for {name}: "{value}" is out of range')
    return height, width


async def top(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.containers.top(request.args["id"], request.query.text("ps_args") or "-ef"))


async def explain(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.containers.explain(request.args["id"]))


async def explain_image(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.containers.explain_image(request.args["name"]))


async def changes(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.containers.changes(request.args["id"]))


async def update(request: Request, engine: Engine) -> message.Response:
    body = await request.decode(bodies.ContainerUpdate)
    return message.json(await engine.containers.update(request.args["id"], body))


async def prune(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.containers.prune(request.query.filters()))
