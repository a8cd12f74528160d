"""A Hub without accounts trusts whoever reaches it; a page of elsewhere must not be who (DNS rebinding).

A site can have its own name lead to 127.0.0.1, and its script then reads and writes here as the site's own server. So a
browser has to call an open Hub by an address, by `localhost`, or by the name in its `url`. Other programs run no
strangers' scripts: docker and the like may use any name that leads here.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class OwnNamesOnly:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, url: str = "") -> None:
        self._app = app
        self._own = urlsplit(url).hostname or ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            if request.headers.get("user-agent", "").startswith("Mozilla/"):  # which every browser says
                host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
                if host != self._own and not is_address_or_localhost(host):
                    words = f'This Hub does not know itself as {host[:255]}: is url = "http://…" set?\n'
                    await PlainTextResponse(words, 421)(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def is_address_or_localhost(host: str) -> bool:
    """Names that nobody else can have lead here."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return True
