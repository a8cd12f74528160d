"""The table of pages. A repository's name has slashes: what is about one of its images stands behind `/-/`."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from kist.hub import search
from kist.hub.errors import BrokenOff, HubError
from kist.hub.web import attached, browse, image, networks, people
from kist.hub.web.render import FOLDER, error_page

log = logging.getLogger("kist.hub")
Page = Callable[..., Awaitable[Response]]
_BOTH = ["GET", "POST"]
#: Below /r/: pattern → page, and whether it takes forms.
REPOSITORY_PAGES: tuple[tuple[re.Pattern[str], Page, bool], ...] = (
    (re.compile(r"(?P<name>.+?)/-/image/(?P<reference>[^/]+)"), image.image, False),
    (re.compile(r"(?P<name>.+?)/-/image/(?P<reference>[^/]+)/layer/(?P<number>[^/]+)"), image.layer, False),
    (re.compile(r"(?P<name>.+?)/-/attached/(?P<digest>[^/]+)/(?P<number>[^/]+)"), attached.download, False),
    (re.compile(r"(?P<name>.+?)/-/differences"), image.differences, False),
    (re.compile(r"(?P<name>.+?)/-/settings"), browse.settings, True),
    (re.compile(r"(?P<name>(?:(?!/-/).)+?)/?"), browse.repository, False),
)


def guarded(handler: Page) -> Page:
    """Errors become pages."""
    async def run(request: Request) -> Response:
        request.scope["kist.route"] = "page"
        try:
            return await handler(request)
        except HubError as error:
            return await error_page(request, error)
        except (BrokenOff, ClientDisconnect):
            raise
        except Exception:
            log.exception("%s %s", request.method, request.url.path)
            return await error_page(request, HubError("UNKNOWN"))
    return run


async def _repository(request: Request) -> Response:
    path = request.path_params["path"]
    for pattern, handler, forms in REPOSITORY_PAGES:
        match = pattern.fullmatch(path)
        if match is not None and (forms or request.method in ("GET", "HEAD")):
            return await handler(request, **match.groupdict())
    raise HubError("NAME_UNKNOWN")


async def not_found(request: Request, error: Exception) -> Response:
    """Starlette's own 404s and 405s, as pages for browsers."""
    return await error_page(request, HubError("NAME_UNKNOWN", status=getattr(error, "status_code", 404)))


ROUTES: list[BaseRoute] = [
    Route("/", guarded(browse.front)),
    Route("/search", guarded(browse.search)),
    Route("/r/{path:path}", guarded(_repository), methods=_BOTH),
    Route("/signin", guarded(people.sign_in), methods=_BOTH),
    Route("/signout", guarded(people.sign_out), methods=["POST"]),
    Route("/settings", guarded(people.settings), methods=_BOTH),
    Route("/networks", guarded(networks.networks)),
    Route("/networks/map.svg", guarded(networks.picture)),
    Route("/o/{name}", guarded(people.organisation), methods=_BOTH),
    Route("/v1/search", search.docker_search),
    Route("/v1/_ping", search.docker_ping),
    Route("/api/search", search.api_search),
    Mount("/static", StaticFiles(directory=FOLDER / "static")),
]
