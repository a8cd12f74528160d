"""One JSON line per request, and the same numbers for `/metrics`.

    {"time": "2026-01-01T12:00:00.000Z", "client": "127.0.0.1", "user": "", "method": "GET", "path": "/v2/…",
     "route": "blob", "status": 200, "sent": 5000, "received": 0, "seconds": 0.004, "agent": "skopeo/1.9"}
"""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kist.hub.hub import Hub

log = logging.getLogger("kist.hub.access")


class AccessLog:
    """ASGI middleware; also keeps the number of requests in flight."""

    def __init__(self, app: ASGIApp, hub: Hub) -> None:
        self._app = app
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, sent, received = 0, 0, 0

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            elif scope["method"] != "HEAD":  # whose body the server drops
                sent += message.get("count") or len(message.get("body", b""))
            await send(message)

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        started = time.monotonic()
        metrics = self._hub.metrics
        metrics.in_flight += 1
        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            metrics.in_flight -= 1
            seconds = time.monotonic() - started
            route = scope.get("kist.route") or "other"
            metrics.request(_known(scope["method"]), route, status, seconds, sent, received)
            if log.isEnabledFor(logging.INFO):
                log.info(_line(scope, route, status, sent, received, seconds))


def _known(method: str) -> str:
    """Label values come from us, never from the client."""
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "OTHER"


def _line(scope: Scope, route: str, status: int, sent: int, received: int, seconds: float) -> str:
    headers = {name: value for name, value in scope["headers"] if name == b"user-agent"}
    client = scope.get("client")
    return json.dumps({
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "client": client[0] if client else "", "user": scope.get("kist.user", ""), "method": scope["method"],
        "path": scope["path"][:1000], "route": route, "status": status, "sent": sent, "received": received,
        "seconds": round(seconds, 6), "agent": headers.get(b"user-agent", b"").decode("latin-1")[:200]})
