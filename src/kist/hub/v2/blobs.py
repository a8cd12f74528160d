"""`/v2/NAME/blobs/DIGEST`: look, get (also in parts), delete."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from kist.hub import names
from kist.hub.hub import hub_of, in_thread
from kist.hub.v2.bodies import BlobResponse, requested_range

_FOREVER = "public, max-age=31536000, immutable"  # a digest's content never changes


async def get(request: Request, name: str, digest: str) -> Response:
    wanted = names.digest(digest)
    content = hub_of(request).content
    size = await in_thread(content.blob_size, name, wanted, for_push=request.method == "HEAD")
    headers = {"Docker-Content-Digest": wanted, "ETag": f'"{wanted}"', "Accept-Ranges": "bytes",
               "Cache-Control": _FOREVER, "Content-Type": "application/octet-stream"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(size)})
    part = requested_range(request.headers.get("range"), size)
    file = await in_thread(content.open_blob, name, wanted)
    if part is None:
        return BlobResponse(file, 0, size, 200, headers)
    start, length = part
    headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return BlobResponse(file, start, length, 206, headers)


async def delete(request: Request, name: str, digest: str) -> Response:
    await in_thread(hub_of(request).content.delete_blob, name, names.digest(digest))
    return Response(status_code=202)
