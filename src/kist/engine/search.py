"""What a registry is asked besides images: what it has by a word, and whether it takes somebody's credentials."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

from kist.api import bodies
from kist.engine import selection
from kist.engine.pull import Pull
from kist.engine.selection import Filters
from kist.errors import InvalidParameter
from kist.oci.reference import DEFAULT_DOMAIN, OFFICIAL
from kist.registry import pull as registry
from kist.registry import search

Json = dict[str, Any]
FILTERS = frozenset({"is-automated", "is-official", "stars"})


class Search:
    def __init__(self, pull: Pull) -> None:
        self._pull = pull

    async def run(self, term: str, limit: int, filters: Filters, auth: bodies.AuthConfig | None) -> list[Json]:
        """``[HOST/]WORDS``: at Docker Hub's mirrors and Docker Hub, or at that host."""
        if not term:
            raise InvalidParameter("the term to search for is missing")
        selection.check(filters, FILTERS)
        stars = max([0, *(_stars(value) for value in filters.get("stars", ()))])
        official, automated = _flag(filters, "is-official"), _flag(filters, "is-automated")
        host, words = split(term)

        def look() -> list[search.Found]:
            with closing(self._pull.client(host, auth)) as client:
                return search.search(client, words, limit)

        found = await asyncio.to_thread(look)
        rows = [_row(one, host) for one in found]
        return [row for row in rows if row["star_count"] >= stars
                and official in (None, row["is_official"]) and automated in (None, row["is_automated"])]

    async def login(self, auth: bodies.AuthConfig) -> Json:
        """``POST /auth``: raises Unauthorized where the registry doesn't take the credentials."""
        host = auth.serveraddress.partition("://")[2] or auth.serveraddress
        host = host.partition("/")[0]
        if host in ("", "index.docker.io", "registry-1.docker.io"):
            host = DEFAULT_DOMAIN

        def ask() -> None:
            with closing(self._pull.client(host, auth)) as client:
                registry.ping(client)

        await asyncio.to_thread(ask)
        return {"Status": "Login Succeeded", "IdentityToken": ""}


def split(term: str) -> tuple[str, str]:
    """The registry and the words: what stands before the first slash is a host if it looks like one."""
    first, slash, rest = term.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return DEFAULT_DOMAIN, term.removeprefix(OFFICIAL)


def _row(found: search.Found, host: str) -> Json:
    name = found.name.removeprefix(OFFICIAL) if host == DEFAULT_DOMAIN else found.name
    return {"name": name, "description": found.description, "star_count": found.stars,
            "is_official": found.official, "is_automated": found.automated}


def _stars(value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise InvalidParameter(f"invalid filter 'stars={value}'")
    return int(value)


def _flag(filters: Filters, name: str) -> bool | None:
    values = {value.lower() for value in filters.get(name, ())}
    if not values:
        return None
    if values in ({"true"}, {"1"}, {"false"}, {"0"}):
        return bool(values & {"true", "1"})
    raise InvalidParameter(f"invalid filter '{name}=[{' '.join(sorted(values))}]'")
