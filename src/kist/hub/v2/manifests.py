"""`/v2/NAME/manifests/TAG|DIGEST` and what hangs on it: `/v2/NAME/referrers/DIGEST`."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kist.hub import names
from kist.hub.content import MAX_MANIFEST
from kist.hub.errors import HubError
from kist.hub.hub import Hub, hub_of, in_thread
from kist.hub.v2.bodies import is_known, receive_bounded
from kist.oci.digest import Digest
from kist.oci.manifest import INDEXES, OCI_INDEX, Descriptor

#: So many referrers go into one answer, whose body must stay a manifest's size.
REFERRERS_PAGE = 1000


async def get(request: Request, name: str, reference: str) -> Response:
    hub = hub_of(request)
    where, found = await in_thread(hub.cache.manifest, request.scope["kist.names"], names.tag_or_digest(reference))
    if request.method == "HEAD":
        await in_thread(hub.content.rely_on_manifest, where, found.digest)
    headers = {"Docker-Content-Digest": found.digest, "ETag": f'"{found.digest}"', "Content-Type": found.media_type}
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(len(found.content))})
    if found.media_type not in INDEXES:  # a client that pulls through an index asks for both
        hub.count_pull(where)
    return Response(found.content, headers=headers)


async def put(request: Request, name: str, reference: str) -> Response:
    content = hub_of(request).content
    wanted = names.tag_or_digest(reference)
    too_large = HubError("MANIFEST_INVALID", f"the manifest is larger than {MAX_MANIFEST} bytes", status=413)
    body = await receive_bounded(request, MAX_MANIFEST, too_large)
    stored = await in_thread(content.put_manifest, name, wanted, body, request.headers.get("content-type", ""))
    headers = {"Location": f"/v2/{name}/manifests/{reference}", "Docker-Content-Digest": stored.digest}
    if stored.subject:
        headers["OCI-Subject"] = stored.subject
    return Response(status_code=201, headers=headers)


async def delete(request: Request, name: str, reference: str) -> Response:
    await in_thread(hub_of(request).content.delete_manifest, name, names.tag_or_digest(reference))
    return Response(status_code=202)


async def referrers(request: Request, name: str, digest: str) -> Response:
    wanted = names.digest(digest)
    kind, last = request.query_params.get("artifactType", ""), request.query_params.get("last", "")
    page, more = await in_thread(_referrers, hub_of(request), request.scope["kist.names"], wanted, kind, last)
    headers = {"Content-Type": OCI_INDEX}
    if kind:
        headers["OCI-Filters-Applied"] = "artifactType"
    if more:
        query = urlencode({"last": page[-1].digest, **({"artifactType": kind} if kind else {})}, safe=":")
        headers["Link"] = f'</v2/{name}/referrers/{digest}?{query}>; rel="next"'
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page}
    return Response(msgspec.json.encode(body), headers=headers)


def _referrers(hub: Hub, where: list[str], digest: Digest, kind: str, last: str) -> tuple[list[Descriptor], bool]:
    """A page of what comes behind ``last`` (behind nothing, where that is gone), and whether there is more."""
    page: list[Descriptor] = []
    size, skipping = 0, bool(last)
    for one in hub.cache.referrers(where, digest, kind):
        if skipping:
            skipping = one.digest != last
            continue
        size += len(msgspec.json.encode(one))
        if page and (len(page) == REFERRERS_PAGE or size > MAX_MANIFEST):
            return page, True
        page.append(one)
    return _referrers(hub, where, digest, kind, "") if skipping else (page, False)
