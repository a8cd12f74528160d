"""The route table of the distribution API, and the one place that dispatches over it.

Names have slashes in them, and may even have "blobs" or "manifests" as a part: the last match of the
pattern's fixed words counts, as everywhere. Errors become bodies here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from kist.hub import names
from kist.hub.access import Action
from kist.hub.errors import BrokenOff, HubError
from kist.hub.hub import hub_of, in_thread
from kist.hub.v2 import blobs, lists, manifests, uploads

log = logging.getLogger("kist.hub")
Handler = Callable[..., Awaitable[Response]]
_Methods = Mapping[str, tuple[Action, Handler]]

PULL, PUSH, DELETE = Action.PULL, Action.PUSH, Action.DELETE
#: (name for metrics, pattern of the path behind /v2/, method → what it needs and who does it)
ROUTES: tuple[tuple[str, re.Pattern[str], _Methods], ...] = (
    ("uploads", re.compile(r"(?P<name>.+)/blobs/uploads/?"), {"POST": (PUSH, uploads.start)}),
    ("upload", re.compile(r"(?P<name>.+)/blobs/uploads/(?P<upload>[^/]+)"), {
        "GET": (PUSH, uploads.status), "PATCH": (PUSH, uploads.chunk), "PUT": (PUSH, uploads.finish),
        "DELETE": (PUSH, uploads.cancel)}),
    ("blob", re.compile(r"(?P<name>.+)/blobs/(?P<digest>[^/]+)"), {
        "GET": (PULL, blobs.get), "HEAD": (PULL, blobs.get), "DELETE": (DELETE, blobs.delete)}),
    ("manifest", re.compile(r"(?P<name>.+)/manifests/(?P<reference>[^/]+)"), {
        "GET": (PULL, manifests.get), "HEAD": (PULL, manifests.get), "PUT": (PUSH, manifests.put),
        "DELETE": (DELETE, manifests.delete)}),
    ("referrers", re.compile(r"(?P<name>.+)/referrers/(?P<digest>[^/]+)"), {"GET": (PULL, manifests.referrers)}),
    ("tags", re.compile(r"(?P<name>.+)/tags/list"), {"GET": (PULL, lists.tags)}),
)
#: A blob is a stranger's: no browser may take it for a page of ours.
API_HEADERS = {"Docker-Distribution-API-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}


async def dispatch(request: Request) -> Response:
    """Every request to /v2 and what is below it."""
    try:
        response = await _dispatched(request, request.path_params.get("path", ""))
    except HubError as error:
        response = JSONResponse(error.body, error.status, error.headers)
    except (BrokenOff, ClientDisconnect):
        raise
    except Exception:  # clients show an error body's words, and try again after a 5xx
        log.exception("%s %s", request.method, request.url.path)
        response = JSONResponse(HubError("UNKNOWN", "the registry failed; its log says why").body, 500)
    response.headers.update(API_HEADERS)
    return response


async def _dispatched(request: Request, path: str) -> Response:
    access = hub_of(request).access
    _check_origin(request)
    if path in ("", "_catalog"):
        request.scope["kist.route"] = "catalog" if path else "base"
        if request.method not in ("GET", "HEAD"):
            raise _wrong_method(("GET", "HEAD"))
        await in_thread(access.check_login, request)
        return await lists.catalog(request) if path else JSONResponse({})
    for route, pattern, methods in ROUTES:
        match = pattern.fullmatch(path)
        if match is None:
            continue
        request.scope["kist.route"] = route
        params = match.groupdict()
        names.repository_name(params["name"])
        if request.method not in methods:
            raise _wrong_method(tuple(methods))
        action, handler = methods[request.method]
        await in_thread(_permit, request, action, params["name"])
        return await handler(request, **params)
    raise HubError("NAME_UNKNOWN", "no such endpoint")


async def wrong_method(request: Request, error: Exception) -> Response:
    return JSONResponse(HubError("UNSUPPORTED").body, 405, API_HEADERS)


def _wrong_method(allowed: tuple[str, ...]) -> HubError:
    return HubError("UNSUPPORTED", headers={"Allow": ", ".join(allowed)})


def _check_origin(request: Request) -> None:
    """No web page writes here: browsers say who sends a request (Fetch Metadata), other clients say nothing."""
    foreign = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    if foreign and request.method not in ("GET", "HEAD"):
        raise HubError("DENIED", "the request was made by a web page of another site")


def _permit(request: Request, action: Action, name: str) -> None:
    """Let the request pass, or raise. ``kist.names``: the repositories that a pull may be answered from."""
    hub = hub_of(request)
    if action is PULL:
        candidates = hub.cache.names(name, request.query_params.get("ns", ""))
        allowed = [one for one in candidates if hub.access.may_pull(request, one)]
        if not allowed:
            hub.access.check(request, action, name)
        request.scope["kist.names"] = allowed
        return
    hub.access.check(request, action, name)
    if action is PUSH and hub.cache.upstream_of(name):
        raise HubError("DENIED", f"{name} is a cache: push to the registry itself")
