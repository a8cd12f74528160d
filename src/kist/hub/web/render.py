"""Templates, the headers that every page has, forms, and numbers as people read them."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kist.hub.access import SESSION_COOKIE, AccountAccess
from kist.hub.accounts import User
from kist.hub.errors import HubError
from kist.hub.hub import hub_of, in_thread
from kist.hub.v2.bodies import receive_bounded
from kist.hub.web import markdown

FOLDER = Path(__file__).parent
MAX_FORM = 512 << 10
#: Control characters, line separators, marks and overrides of direction, and others without a width; what joins letters
#: (U+200C, U+200D) is part of words.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
# Nothing from elsewhere, nothing inline: a description can't run anything even if the renderer had a hole.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
                               "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
}


# --- numbers --------------------------------------------------------------------------------------------------


def size(count: float) -> str:
    """Bytes in decimal units, as Docker shows them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.3g} TB"


def number(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")


def ago(moment: float, now: float | None = None) -> str:
    """How long ago, in the largest unit."""
    seconds = max((time.time() if now is None else now) - moment, 0)
    for unit, length in (("year", 31557600), ("month", 2629800), ("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short(digest: str) -> str:
    return digest.partition(":")[2][:12]


def mode(bits: int) -> str:
    return "".join(letter if bits >> (8 - place) & 1 else "-" for place, letter in enumerate("rwxrwxrwx"))


def plain(text: str) -> str:
    """Strangers' text with what can't be seen, or turns the line around, written out (``\\x1b``, ``\\u202e``)."""
    return _UNSEEN.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


# --- pages ----------------------------------------------------------------------------------------------------


def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters.update(size=size, number=number, ago=ago, stamp=stamp, short=short, mode=mode, plain=plain,
                               markdown=markdown.render, path=lambda text: quote(text, safe="/:"))
    environment.globals.update(percent=percent)
    return environment


_ENVIRONMENT = _environment()


async def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page with what all of them need: who is signed in, and the form token."""
    user = await in_thread(signed_in, request)
    hub = hub_of(request)
    accounts = isinstance(hub.access, AccountAccess)
    html = await in_thread(_ENVIRONMENT.get_template(template).render, {
        "user": user, "accounts": accounts, "path": request.url.path,
        "networks": bool(hub.config.engine) and (not accounts or bool(user and user.admin)),
        "csrf": csrf(request), "q": "", "host": request.url.netloc, **values})
    return HTMLResponse(html, status, HEADERS)


async def error_page(request: Request, error: HubError) -> Response:
    """Where somebody could sign in to see more, the page says so."""
    words = _WORDS.get(error.status, error.message)
    words = words[:1].upper() + words[1:] + ("" if words.endswith((".", "?", "!")) else ".")
    answer = await page(request, "error.html", error.status, title=_TITLES.get(error.status, "That did not work"),
                        words=words, number=error.status)
    answer.headers.update(error.headers)
    return answer


_TITLES = {401: "Sign in to see this", 403: "Not allowed", 404: "Not found", 405: "Not possible", 413: "Too large",
           429: "Too many tries", 500: "Something broke", 503: "Not now"}
_WORDS = {404: "There is nothing here by that name. It may also be private.",
          500: "This is our fault, not yours. It is in the Hub's log; trying again may help."}


def moved(target: str) -> Response:
    """After a form: the browser shows ``target`` by GET."""
    return RedirectResponse(target, 303, HEADERS)


def signed_in(request: Request) -> User | None:
    """The user of the session; wrong API credentials count as nobody on the pages."""
    try:
        return hub_of(request).access.user(request)
    except HubError:
        return None


# --- forms ----------------------------------------------------------------------------------------------------


def csrf(request: Request) -> str:
    """A form token that belongs to the session; without a session the origin check has to do."""
    access = hub_of(request).access
    cookie = request.cookies.get(SESSION_COOKIE, "")
    if not cookie or not isinstance(access, AccountAccess):
        return ""
    return hmac.digest(access.accounts.signing_key(), b"csrf:" + cookie.encode(), "sha256").hex()


async def form(request: Request) -> Mapping[str, str]:
    """The fields of a form that one of our own pages sent; raises DENIED for anybody else's."""
    if "authorization" in request.headers:
        raise HubError("DENIED", "forms are for people who have signed in on the pages, not for tokens")
    if not same_origin(request):
        raise HubError("DENIED", "the form was sent by another site")
    body = await receive_bounded(request, MAX_FORM, HubError("SIZE_INVALID", "the form is too long", status=413))
    fields = {key: values[-1] for key, values in
              parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()}
    wanted = await in_thread(csrf, request)
    if not hmac.compare_digest(wanted, fields.get("csrf", "")):
        raise HubError("DENIED", "the form is too old: load its page again")
    return fields


def same_origin(request: Request) -> bool:
    """Browsers say where a POST comes from (Fetch Metadata; Origin in older ones)."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    scheme, _, host = request.headers.get("origin", "").partition("://")
    return scheme in ("http", "https") and host == request.headers.get("host", "")
