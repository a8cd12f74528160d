"""`/v2/NAME/tags/list` and `/v2/_catalog`: in lexical order, in pages (distribution-spec 1.1, #listing-tags)."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kist.hub.errors import HubError
from kist.hub.hub import Hub, hub_of, in_thread

MAX_PAGE = 1000
CATALOG_PAGE = 100


async def tags(request: Request, name: str) -> Response:
    hub = hub_of(request)
    n, last = _page(request, MAX_PAGE)
    found = await in_thread(_tags, hub, name, n, last)
    return _listed({"name": name, "tags": found[:n]}, f"/v2/{name}/tags/list", n, found)


def _tags(hub: Hub, name: str, n: int, last: str) -> list[str]:
    """One more than ``n``, where there are so many."""
    upstream = hub.cache.tags(name)
    if upstream is not None:
        return [tag for tag in upstream if tag > last][:n + 1] if n else []
    if not hub.metadata.has_manifests(name):
        raise HubError("NAME_UNKNOWN", detail={"name": name})
    return [tag.name for tag in hub.metadata.tags(name, n + 1, last)] if n else []


async def catalog(request: Request) -> Response:
    hub = hub_of(request)
    n, last = _page(request, CATALOG_PAGE)
    found = await in_thread(_visible, hub, request, n + 1, last) if n else []
    return _listed({"repositories": found[:n]}, "/v2/_catalog", n, found)


def _visible(hub: Hub, request: Request, n: int, last: str) -> list[str]:
    """Names of repositories that whoever asks may pull from."""
    seen: list[str] = []
    while len(seen) < n:
        page = hub.metadata.repositories(MAX_PAGE, last)
        seen += [name for name in page if hub.access.may_pull(request, name)]
        if len(page) < MAX_PAGE:
            break
        last = page[-1]
    return seen[:n]


def _page(request: Request, default: int) -> tuple[int, str]:
    text = request.query_params.get("n", str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise HubError("PAGINATION_NUMBER_INVALID", detail={"n": text[:20]})
    return min(int(text), MAX_PAGE), request.query_params.get("last", "")


def _listed(body: dict[str, object], path: str, n: int, found: list[str]) -> Response:
    """``found`` has one more than ``n`` where there is another page."""
    headers = {}
    if len(found) > n > 0:
        headers["Link"] = f'<{path}?{urlencode({"n": n, "last": found[n - 1]}, safe="/")}>; rel="next"'
    return JSONResponse(body, headers=headers)
