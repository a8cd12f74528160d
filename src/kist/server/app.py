"""The application: from a request's head to the handler of its route, and from any error to an answer."""

from __future__ import annotations

import asyncio
import importlib
import logging
import re
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import h11

from kist.api import versions
from kist.api.query import Query
from kist.api.routes import ROUTES, Route
from kist.errors import KistError, NotFound, NotSupported
from kist.server import http, message
from kist.server.ports import Engine
from kist.version import API_VERSION, VERSION

log = logging.getLogger("kist.api")

Handler = Callable[[message.Request, Engine], Awaitable[message.Answer]]

# What every answer carries (moby api/server/middleware): clients negotiate with Api-Version.
COMMON_HEADERS: message.Headers = [
    ("Api-Version", API_VERSION),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", f"Kist/{VERSION} (linux)"),
]


class Router:
    """Compiled from the table: fixed paths by one look-up, patterns by their method and first segment."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._fixed: dict[tuple[str, str], Route] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            if "{" not in route.pattern:
                self._fixed[route.method, route.pattern] = route
                continue
            key = route.method, _first_segment(route.pattern)
            self._patterns.setdefault(key, []).append((_compile(route.pattern), route))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and the values of its pattern; raises NotFound in Docker's words."""
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed, {}
        for pattern, route in self._patterns.get((method, _first_segment(path)), ()):
            match = pattern.fullmatch(path)
            if match is not None:
                return route, match.groupdict()
        raise NotFound("page not found")


def _first_segment(path: str) -> str:
    return path[1:].partition("/")[0]


def _compile(pattern: str) -> re.Pattern[str]:
    """``{x}`` takes a segment, ``{x*}`` several."""
    source = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", pattern)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", source))


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Date:
    """``Date`` as RFC 9110 §5.6.7 wants it, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def text(self) -> str:
        now = int(time.time())
        if now != self._second:
            at = time.gmtime(now)  # strftime would name days in the locale's language
            self._second, self._text = now, (
                f"{_DAYS[at.tm_wday]}, {at.tm_mday:02d} {_MONTHS[at.tm_mon - 1]} {at.tm_year} "
                f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT")
        return self._text


class App:
    """Give each connection ``serve``; it answers everything, whatever goes wrong."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._router = Router()
        self._handlers: dict[str, Handler] = {}
        self._date = _Date()

    async def serve(self, head: h11.Request, source: message.BodySource) -> message.Answer:
        began = time.monotonic()
        target = head.target.decode("latin-1")
        try:
            answer = await self._dispatch(head.method.decode("latin-1"), target, head, source)
        except KistError as exc:
            answer = message.error(exc.status, exc.message)
            if exc.status == 500:  # 501 and 503 are nobody's mistake
                log.error("request failed method=%s target=%s error=%r",
                          head.method.decode("latin-1"), target, exc.message)
        except (asyncio.CancelledError, http.BodyLost):
            raise
        except Exception:
            log.exception("request failed method=%s target=%s", head.method.decode("latin-1"), target)
            answer = message.error(500, "internal error: the server's log tells more")
        if not isinstance(answer, message.Hijack):
            answer.headers.extend(COMMON_HEADERS)
            answer.headers.append(("Date", self._date.text()))
        if log.isEnabledFor(logging.DEBUG):
            log.debug("answered method=%s target=%s status=%s ms=%.2f", head.method.decode("latin-1"), target,
                      getattr(answer, "status", 101), (time.monotonic() - began) * 1000)
        return answer

    async def _dispatch(self, method: str, target: str, head: h11.Request,
                        source: message.BodySource) -> message.Answer:
        path, _, query = target.partition("?")
        if "%" in path:
            path = unquote(path)
        if "//" in path:  # `docker inspect /name`; moby's router redirects to the clean path
            path = re.sub("//+", "/", path)
        version, path = versions.split(path)
        route, args = self._router.find(method, path)
        if route.refusal:
            raise NotSupported(route.refusal)
        request = message.Request(method, path, Query(query), version, list(head.headers), source)
        request.args = args
        return await self._handler(route.handler)(request, self._engine)

    def _handler(self, name: str) -> Handler:
        """``containers.start`` is `routes/containers.py`'s ``start``, imported at its first use."""
        found = self._handlers.get(name)
        if found is None:
            module, _, function = name.partition(".")
            found = getattr(importlib.import_module(f"kist.server.routes.{module}"), function)
            self._handlers[name] = found
        return found
