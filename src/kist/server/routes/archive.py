"""Files in and out of containers, as tar archives (`docker cp`, `docker export`)."""

from __future__ import annotations

from base64 import b64encode

from kist.errors import InvalidParameter, KistError
from kist.server import message
from kist.server.message import Request
from kist.server.ports import Engine, Json

_TAR = "application/x-tar"


async def stat(request: Request, engine: Engine) -> message.Response:
    found = await engine.containers.archive_stat(request.args["id"], _path(request))
    return message.Response(200, headers=[_stat_header(found)])


async def get(request: Request, engine: Engine) -> message.Stream:
    found, pieces = await engine.containers.archive_get(request.args["id"], _path(request))
    return message.Stream(pieces, _TAR, [_stat_header(found)])


async def put(request: Request, engine: Engine) -> message.Response:
    query = request.query
    try:
        await engine.containers.archive_put(
            request.args["id"], _path(request), request.chunks(),
            no_overwrite_dir_non_dir=query.flag("noOverwriteDirNonDir"), copy_uid_gid=query.flag("copyUIDGID"))
    except KistError:
        await request.skip()
        raise
    return message.Response(200)


async def export(request: Request, engine: Engine) -> message.Stream:
    return message.Stream(await engine.containers.export(request.args["id"]), "application/octet-stream")


def _path(request: Request) -> str:
    path = request.query.text("path")
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    return path


def _stat_header(found: Json) -> tuple[str, str]:
    return "X-Docker-Container-Path-Stat", b64encode(message.encode(found)).decode()
