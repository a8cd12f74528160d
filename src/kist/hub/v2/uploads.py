"""`/v2/NAME/blobs/uploads/`: in one request, in one PUT, in chunks, or mounted from another repository.

    POST  ?mount=DIGEST[&from=NAME] → 201 (mounted) or 202       PATCH  (Content-Range: 0-99)  → 202 or 416
    POST  ?digest=DIGEST + body    → 201                         PUT    ?digest=DIGEST (+ body) → 201
    POST                           → 202 Location, Range: 0-0    GET → 204     DELETE → 204
"""

from __future__ import annotations

import asyncio
import re
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response

from kist.hub import names
from kist.hub.errors import HubError
from kist.hub.hub import Hub, hub_of, in_thread
from kist.hub.v2.bodies import receive_upload
from kist.oci.digest import Digest

#: In so many repositories a blob is looked for when a mount doesn't say where it is.
MOST_HOLDERS = 100
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,19})-(\d{1,19})(?:/(?:\d{1,19}|\*))?")
# One writer per upload: a second request waits, and then finds its Content-Range out of order.
_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


async def start(request: Request, name: str) -> Response:
    hub = hub_of(request)
    mount = request.query_params.get("mount", "")
    if mount:
        digest = names.digest(mount)
        if await in_thread(_mounted, hub, request, name, digest):
            return _created(name, digest)
    wanted = names.digest(request.query_params["digest"]) if "digest" in request.query_params else None
    upload = await in_thread(hub.content.begin_upload, name)
    if wanted is None:
        return _accepted(name, upload, 0, 202)
    await receive_upload(hub.content, upload, 0, request)
    await in_thread(hub.content.finish_upload, name, upload, wanted)
    return _created(name, wanted)


def _mounted(hub: Hub, request: Request, name: str, digest: Digest) -> bool:
    """Whether the blob could be had from where the client says, or from anywhere that it may pull from."""
    if "from" not in request.query_params:
        sources = hub.metadata.holders(digest, MOST_HOLDERS)
    else:
        sources = [source for source in [request.query_params["from"]] if names.is_name(source)]
    return any(hub.access.may_pull(request, source) and hub.content.mount(name, digest, source) for source in sources)


async def status(request: Request, name: str, upload: str) -> Response:
    size = await in_thread(hub_of(request).content.upload_size, name, upload)
    return _accepted(name, upload, size, 204)


async def chunk(request: Request, name: str, upload: str) -> Response:
    async with _lock(upload):
        size = await _append(request, name, upload)
    return _accepted(name, upload, size, 202)


async def finish(request: Request, name: str, upload: str) -> Response:
    content = hub_of(request).content
    async with _lock(upload):
        await in_thread(content.upload_size, name, upload)
        if "digest" not in request.query_params:
            raise HubError("DIGEST_INVALID", "the digest parameter is missing")
        digest = names.digest(request.query_params["digest"])
        await _append(request, name, upload)
        await in_thread(content.finish_upload, name, upload, digest)
    return _created(name, digest)


async def cancel(request: Request, name: str, upload: str) -> Response:
    await in_thread(hub_of(request).content.cancel_upload, name, upload)
    return Response(status_code=204)


async def _append(request: Request, name: str, upload: str) -> int:
    content = hub_of(request).content
    size = await in_thread(content.upload_size, name, upload)
    _check_range(request, name, upload, size)
    return await receive_upload(content, upload, size, request)


def _check_range(request: Request, name: str, upload: str, size: int) -> None:
    """Chunks come in order, and are as long as they say (distribution-spec 1.1, #pushing-a-blob-in-chunks)."""
    header = request.headers.get("content-range")
    if header is None:
        return
    match = _CONTENT_RANGE.fullmatch(header.strip())
    length = request.headers.get("content-length", "")
    first, last = (int(match.group(1)), int(match.group(2))) if match else (-1, -1)
    in_order = first == size and last >= first
    if not in_order or (length.isdigit() and int(length) != last - first + 1):
        raise HubError("RANGE_INVALID", headers=_position(name, upload, size))


def _lock(upload: str) -> asyncio.Lock:
    lock = _locks.get(upload)
    if lock is None:
        lock = _locks[upload] = asyncio.Lock()
    return lock


def _position(name: str, upload: str, size: int) -> dict[str, str]:
    # "0-0" for an empty upload is distribution's convention; clients know it.
    return {"Location": f"/v2/{name}/blobs/uploads/{upload}", "Range": f"0-{max(size - 1, 0)}",
            "Docker-Upload-UUID": upload}


def _accepted(name: str, upload: str, size: int, status_code: int) -> Response:
    return Response(status_code=status_code, headers=_position(name, upload, size))


def _created(name: str, digest: Digest) -> Response:
    return Response(status_code=201, headers={"Location": f"/v2/{name}/blobs/{digest}",
                                              "Docker-Content-Digest": digest})
