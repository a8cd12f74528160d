"""The Hub as an ASGI application: routes, the access log around them, housekeeping beside them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kist.errors import InvalidParameter
from kist.hub import gc, token
from kist.hub.access import Access, AccountAccess, OpenAccess
from kist.hub.accesslog import AccessLog
from kist.hub.accounts import Accounts
from kist.hub.blobs import DiskBlobs
from kist.hub.config import HubConfig
from kist.hub.content import Content
from kist.hub.database import Database
from kist.hub.errors import HubError
from kist.hub.hub import Hub, hub_of, in_thread
from kist.hub.rebinding import OwnNamesOnly
from kist.hub.sqlite_metadata import SqliteMetadata
from kist.hub.upstream import Cache, make_upstreams
from kist.hub.v2 import routes as v2
from kist.hub.web import routes as pages
from kist.registry.settings import is_loopback
from kist.version import VERSION

log = logging.getLogger("kist.hub")
FLUSH_EVERY = 5.0  # seconds; so many pulls may go uncounted after a kill
_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def open_content(data: Path, *, max_blob: int = 0, private: bool = False) -> Content:
    """The content of a data folder, which is made where there is none."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Content(DiskBlobs(data), SqliteMetadata(Database(data / "hub.db")), max_blob=max_blob, private=private)


def open_hub(config: HubConfig, content: Content | None = None) -> Hub:
    """A Hub over the configured data folder, or over another ``content``."""
    content = content or open_content(config.data, max_blob=config.max_blob, private=config.private)
    upstreams = make_upstreams(config.upstreams, f"kist-hub/{VERSION}")
    if config.mirror_of and config.mirror_of not in upstreams:
        raise InvalidParameter(f'mirror-of: there is no [upstreams."{config.mirror_of}"]')
    cache = Cache(content, upstreams, mirror_of=config.mirror_of, tag_life=config.tag_life)
    access: Access = OpenAccess()
    if config.accounts:
        access = AccountAccess(Accounts(content.metadata), cache.upstream_of, url=config.url)
    return Hub(config, content, access, cache)


def make_app(hub: Hub) -> Starlette:
    middleware = [Middleware(AccessLog, hub=hub)]
    if not isinstance(hub.access, AccountAccess):
        middleware.append(Middleware(OwnNamesOnly, url=hub.config.url))
    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            Route("/token", token.token, methods=["GET", "POST"]),
            Route("/v2/{path:path}", v2.dispatch, methods=_ALL_METHODS),
            Route("/v2", v2.dispatch, methods=_ALL_METHODS),
            *pages.ROUTES,
        ],
        middleware=middleware,
        exception_handlers={404: _not_found, 405: _not_found},
        lifespan=_lifespan,
    )
    app.state.hub = hub
    return app


async def _not_found(request: Request, error: Exception) -> Response:
    """What no route takes: a method that nobody knows below /v2 gets a registry's answer, all else a page."""
    answer = v2.wrong_method if request.url.path.startswith("/v2") else pages.not_found
    return await answer(request, error)


async def healthz(request: Request) -> Response:
    """200 when the metadata can be read and the blobs' storage answers."""
    hub = hub_of(request)
    request.scope["kist.route"] = "health"
    try:
        await in_thread(hub.metadata.totals)
        await in_thread(lambda: next(hub.content.blobs.uploads(), None))
    except Exception:
        log.exception("health check failed")
        return PlainTextResponse("unwell\n", 503)
    return PlainTextResponse("ok\n")


async def metrics(request: Request) -> Response:
    """For everybody on an open Hub; with accounts for admins, and from this machine."""
    hub = hub_of(request)
    request.scope["kist.route"] = "metrics"
    if not await in_thread(_may_see_metrics, hub, request):
        return PlainTextResponse("for admins\n", 403)
    totals = await in_thread(hub.metadata.totals)
    return PlainTextResponse(hub.metrics.text(totals), media_type="text/plain; version=0.0.4")


def _may_see_metrics(hub: Hub, request: Request) -> bool:
    if not isinstance(hub.access, AccountAccess) or (request.client and is_loopback(request.client.host)):
        return True
    try:
        user = hub.access.user(request)
    except HubError:
        return False
    return user is not None and user.admin


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    hub: Hub = app.state.hub
    housekeeping = asyncio.create_task(_keep_house(hub))
    try:
        yield
    finally:
        housekeeping.cancel()
        await asyncio.gather(housekeeping, return_exceptions=True)
        hub.flush_pulls()
        hub.cache.close()
        hub.metadata.close()


async def _keep_house(hub: Hub) -> None:
    """Write pull counts, sweep abandoned uploads. A failure is logged and tried again at the next turn."""
    swept = 0.0
    while True:
        try:
            await in_thread(hub.flush_pulls)
            if time.monotonic() - swept > hub.config.sweep_every or not swept:
                swept = time.monotonic()
                await in_thread(hub.content.sweep_uploads, hub.config.upload_life)
                if hub.config.cache_max:
                    await in_thread(gc.evict, hub.content, hub.config.cache_max)
                await in_thread(gc.collect, hub.content, grace=hub.config.gc_grace, untagged=hub.config.gc_untagged)
        except Exception:
            log.exception("housekeeping failed")
        await asyncio.sleep(FLUSH_EVERY)
