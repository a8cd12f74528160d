"""`/v2/NAME/blobs/DIGEST`: look, get (also in parts), delete."""

from __future__ import annotations

from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response

from kist.hub import names
from kist.hub.errors import HubError
from kist.hub.hub import Hub, hub_of, in_thread
from kist.hub.upstream import Fetch
from kist.hub.v2.bodies import BlobResponse, IncomingResponse, is_known, requested_range, wanted_range
from kist.oci.digest import Digest

_FOREVER = "max-age=31536000, immutable"  # a digest's content never changes


async def get(request: Request, name: str, digest: str) -> Response:
    hub = hub_of(request)
    wanted = names.digest(digest)
    found = await in_thread(hub.cache.blob, request.scope["kist.names"], wanted, for_push=request.method == "HEAD")
    headers = {"Docker-Content-Digest": wanted, "ETag": f'"{wanted}"', "Accept-Ranges": "bytes",
               "Cache-Control": _caching(request), "Content-Type": "application/octet-stream"}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    size = found.size if isinstance(found, Fetch) else await in_thread(hub.content.blob_size, found, wanted)
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(size)})
    part = requested_range(wanted_range(request, headers["ETag"]), size)
    if isinstance(found, Fetch):
        return await _incoming(hub, wanted, found, part, headers)
    return _stored(await in_thread(hub.content.open_blob, found, wanted), size, part, headers)


def _caching(request: Request) -> str:
    """What somebody had to sign in for, no cache on the way may give to others (RFC 9111, section 3.5)."""
    return f"{'private' if 'authorization' in request.headers else 'public'}, {_FOREVER}"


def _stored(file: BinaryIO, size: int, part: tuple[int, int] | None, headers: dict[str, str]) -> Response:
    if part is None:
        return BlobResponse(file, 0, size, 200, headers)
    start, length = part
    headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return BlobResponse(file, start, length, 206, headers)


async def _incoming(
    hub: Hub, digest: Digest, fetch: Fetch, part: tuple[int, int] | None, headers: dict[str, str]
) -> Response:
    """A blob that an upstream is sending: handed on as it comes, or, for a part of it, when it is whole."""
    await fetch.more_than(0)  # what the upstream refuses is refused here, not begun and broken off
    if fetch.error is not None:
        raise HubError("UNAVAILABLE", str(fetch.error))
    if part is None:
        try:
            file = await in_thread(hub.content.blobs.open_upload, fetch.upload)
        except FileNotFoundError:
            pass  # it has just become whole, or failed
        else:
            return IncomingResponse(file, fetch, headers)
    try:
        await fetch.whole()
    except Exception as error:
        raise HubError("UNAVAILABLE", str(error)) from None
    return _stored(await in_thread(hub.content.blobs.open, digest), fetch.size, part, headers)


async def delete(request: Request, name: str, digest: str) -> Response:
    await in_thread(hub_of(request).content.delete_blob, name, names.digest(digest))
    return Response(status_code=202)
