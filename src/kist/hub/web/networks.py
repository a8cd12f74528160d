"""The map of a local engine's networks, for a Hub that is told where the engine listens (`engine = "/run/…"`).

    GET /networks            who reaches whom, as a picture and as a table
    GET /networks/map.svg    the picture (`kist network map --svg`)

A Hub knows images, not containers: it asks the engine each time and keeps nothing. Names and addresses of containers
are no stranger's business: with accounts an admin who has signed in sees them, without accounts whoever is at the
machine.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from kist.hub.access import AccountAccess
from kist.hub.errors import HubError
from kist.hub.hub import Hub, hub_of, in_thread
from kist.hub.web.render import HEADERS, page
from kist.registry.settings import is_loopback

MAP = "/kist/networks/map"
LONGEST = 8 << 20  # bytes of the engine's answer
SECONDS = 10.0
#: The picture has a style sheet of its own, and nothing else: no script, no link, nothing from anywhere.
SVG_HEADERS = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
               "Content-Type": "image/svg+xml"}


@dataclass(frozen=True)
class Way:
    """One line of the table. ``how`` is a network's name or published ports; empty where it is direct."""

    source: str
    target: str
    how: str
    by_port: bool


class _Engine(http.client.HTTPConnection):
    """HTTP over the engine's unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)


def may_see(hub: Hub, request: Request) -> bool:
    """Whether the map is there for whoever asks."""
    if not hub.config.engine:
        return False
    if isinstance(hub.access, AccountAccess):
        user = hub.access.session(request)
        return user is not None and user.admin
    # The name too: a page of elsewhere can have its own name lead here (DNS rebinding), but not this one's.
    return request.client is not None and is_loopback(request.client.host) and _is_here(request.url.hostname or "")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def networks(request: Request) -> Response:
    hub = hub_of(request)
    await in_thread(_permit, hub, request)
    ways: list[Way] = []
    problem = ""
    try:
        ways = ways_of(json.loads(await in_thread(_ask, hub.config.engine, MAP)))
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        problem = f"The engine at {hub.config.engine} does not answer: {error}"
    return await page(request, "networks.html", 503 if problem else 200, ways=ways, problem=problem)


async def picture(request: Request) -> Response:
    hub = hub_of(request)
    await in_thread(_permit, hub, request)
    try:
        drawn = await in_thread(_ask, hub.config.engine, f"{MAP}?format=svg")
    except (OSError, ValueError, http.client.HTTPException):
        raise HubError("UNAVAILABLE", "the engine does not answer") from None
    return Response(drawn, headers=SVG_HEADERS)


def _permit(hub: Hub, request: Request) -> None:
    if not may_see(hub, request):
        raise HubError("NAME_UNKNOWN")


def _ask(path: str, target: str) -> bytes:
    """The body of the engine's answer; raises OSError, ValueError or HTTPException where there is none to be had."""
    engine = _Engine(path)
    try:
        engine.request("GET", target)
        answer = engine.getresponse()
        body = answer.read(LONGEST + 1)
        if answer.status != 200 or len(body) > LONGEST:
            raise ValueError(f"status {answer.status}, {len(body)} bytes")
        return body
    finally:
        engine.close()


def ways_of(found: dict[str, Any]) -> list[Way]:
    """Who reaches whom, in the engine's order (pure)."""
    names = {one["Id"]: str(one["Name"]) for one in found["Containers"]}
    return [Way(names.get(way["From"], way["From"]), names.get(way["To"], way["To"]), *_how(way))
            for way in found["Reach"]]


def _how(way: dict[str, Any]) -> tuple[str, bool]:
    ports = ", ".join(way.get("Ports") or ())
    if "Network" in way:
        return f"{way['Network']}, port {ports} only (a link)" if ports else str(way["Network"]), False
    return ports, True
