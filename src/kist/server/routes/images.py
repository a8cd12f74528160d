"""Images: pull, list, inspect, tag, remove, push, search, save, load, import, commit, prune."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable

from kist.api import bodies
from kist.errors import InvalidParameter
from kist.server import message
from kist.server.message import Request
from kist.server.ports import Engine, Json, Progress
from kist.server.progress import stream

_AUTH_LIMIT = 64 << 10


def _auth(request: Request) -> bodies.AuthConfig | None:
    """``X-Registry-Auth``: base64url of an AuthConfig; like Docker, nonsense counts as none."""
    text = request.header(b"x-registry-auth")
    if not text or len(text) > _AUTH_LIMIT:
        return None
    try:
        return bodies.decode(bodies.AuthConfig, b64decode(text + "=" * (-len(text) % 4), altchars=b"-_"))
    except (ValueError, InvalidParameter):
        return None


async def create(request: Request, engine: Engine) -> message.Stream:
    """``fromImage`` pulls, ``fromSrc`` imports an archive."""
    query = request.query
    if query.text("fromSrc"):
        return await _import(request, engine)
    ref = _joined(query.text("fromImage"), query.text("tag"))
    if not ref:
        raise InvalidParameter("invalid reference format")
    platform, auth = query.text("platform"), _auth(request)
    return await _progress(
        lambda progress: engine.images.pull(ref, platform=platform, auth=auth, progress=progress))


def _joined(image: str, tag: str) -> str:
    """``tag`` is a tag or a digest (moby: reference.WithTag or WithDigest)."""
    if not tag:
        return image
    return f"{image}@{tag}" if ":" in tag else f"{image}:{tag}"


async def _import(request: Request, engine: Engine) -> message.Stream:
    query = request.query
    source = query.text("fromSrc")
    repo, tag = query.text("repo"), query.text("tag")
    return await _progress(lambda progress: engine.images.import_(
        request.chunks(), url="" if source == "-" else source, repo=repo, tag=tag,
        message=query.text("message"), changes=query.all("changes"),
        platform=query.text("platform"), progress=progress))


async def _progress(work: Callable[[Progress], Awaitable[None]]) -> message.Stream:
    return message.Stream(await stream(work), message.JSON_TYPE)


async def push(request: Request, engine: Engine) -> message.Stream:
    name, tag, auth = request.args["name"], request.query.text("tag"), _auth(request)
    platform = request.query.text("platform")
    return await _progress(
        lambda progress: engine.images.push(name, tag, auth=auth, progress=progress, platform=platform))


async def load(request: Request, engine: Engine) -> message.Stream:
    platform = request.query.text("platform")
    return await _progress(
        lambda progress: engine.images.load(request.chunks(), platform=platform, progress=progress))


async def save(request: Request, engine: Engine) -> message.Stream:
    names = [request.args["name"]] if request.args else request.query.all("names")
    if not names:
        raise InvalidParameter("no image names are given")
    pieces: AsyncIterator[bytes] = await engine.images.save(names, platform=request.query.text("platform"))
    return message.Stream(pieces, "application/x-tar")


async def list_(request: Request, engine: Engine) -> message.Response:
    query = request.query
    rows = await engine.images.list(all=query.flag("all"), digests=query.flag("digests"),
                                    shared_size=query.flag("shared-size"), filters=query.filters())
    return message.json([of_version(request, row) for row in rows])


async def inspect(request: Request, engine: Engine) -> message.Response:
    found = await engine.images.inspect(request.args["name"], platform=request.query.text("platform"))
    return message.json(of_version(request, found))


# An image's Config was a container's until API v1.50; these are no part of an image (OCI image-spec, config.md).
_NO_IMAGE_CONFIG = frozenset({"Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty",
                              "OpenStdin", "StdinOnce", "Image", "NetworkDisabled", "MacAddress"})


def of_version(request: Request, image: Json) -> Json:
    """What the client's API version knows; ``VirtualSize`` was a second name of ``Size`` until v1.44."""
    shown = {name: value for name, value in image.items() if name != "VirtualSize"}
    if request.version < (1, 44):
        shown["VirtualSize"] = image.get("Size", 0)
    if request.version >= (1, 50) and isinstance(config := image.get("Config"), dict):
        shown["Config"] = {name: value for name, value in config.items() if name not in _NO_IMAGE_CONFIG}
    return shown


async def history(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.images.history(request.args["name"]))


async def remove(request: Request, engine: Engine) -> message.Response:
    query = request.query
    return message.json(await engine.images.remove(
        request.args["name"], force=query.flag("force"), prune=not query.flag("noprune")))


async def tag(request: Request, engine: Engine) -> message.Response:
    query = request.query
    await engine.images.tag(request.args["name"], query.text("repo"), query.text("tag"))
    return message.Response(201)


async def search(request: Request, engine: Engine) -> message.Response:
    query = request.query
    limit = query.number("limit", 25)
    if not 1 <= limit <= 100:
        raise InvalidParameter(f"limit {limit} is outside the range of [1, 100]")
    return message.json(await engine.images.search(
        query.text("term"), limit, query.filters(), auth=_auth(request)))


async def prune(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.images.prune(request.query.filters()))


async def commit(request: Request, engine: Engine) -> message.Response:
    query = request.query
    data = await request.body()
    config = bodies.decode(bodies.ContainerConfig, data) if data.strip() not in (b"", b"null") else None
    return message.json(await engine.images.commit(
        query.text("container"), repo=query.text("repo"), tag=query.text("tag"),
        comment=query.text("comment"), author=query.text("author"), pause=query.flag("pause", default=True),
        changes=query.all("changes"), config=config), 201)


async def manifest(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.images.manifest(request.args["name"], auth=_auth(request)))


async def push_manifests(request: Request, engine: Engine) -> message.Response:
    body = await request.decode(bodies.ManifestListPush)
    return message.json(await engine.images.push_manifests(request.args["name"], body, auth=_auth(request)))


async def distribution(request: Request, engine: Engine) -> message.Response:
    return message.json(await engine.images.distribution(request.args["name"], auth=_auth(request)))
