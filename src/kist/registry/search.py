"""Search as `docker search` knows it: the registry's own `GET /v1/search`, which Docker Hub and Kist's Hub answer.

    GET /v1/search?q=redis&n=25 → {"results": [{"name", "description", "star_count", "is_official", …}]}
"""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.parse import urlencode

from kist.errors import KistError, Unavailable
from kist.oci.reference import DEFAULT_DOMAIN
from kist.registry.client import RegistryClient
from kist.registry.protocol import MAX_LIST_BODY, Endpoint, Subject
from kist.registry.transport import ConnectionFailed

_DOCKER_INDEX = Endpoint("https://index.docker.io")


class Found(NamedTuple):
    """One repository."""

    name: str
    description: str
    stars: int
    official: bool
    automated: bool


def search(client: RegistryClient, words: str, limit: int) -> list[Found]:
    """What the registry finds, best first. Mirrors that know no search are passed over; raises Unavailable …"""
    endpoints = [point for point in client.endpoints if point.mirror or client.host != DEFAULT_DOMAIN]
    if client.host == DEFAULT_DOMAIN:
        endpoints.append(_DOCKER_INDEX)
    problem: KistError | None = None
    for endpoint in endpoints:
        try:
            return _ask(client, endpoint, words, limit)
        except KistError as error:
            problem = error
            if not (endpoint.mirror or isinstance(error, ConnectionFailed)):
                break
    assert problem is not None
    raise problem


def _ask(client: RegistryClient, endpoint: Endpoint, words: str, limit: int) -> list[Found]:
    url = f"{endpoint.base}/v1/search?" + urlencode({"q": words, "n": limit})
    with client.request(endpoint, "GET", url, subject=Subject(words, action="search"), scope="",
                        headers={"X-Docker-Token": "true"}) as answer:
        body = answer.read(MAX_LIST_BODY)
    try:
        rows = json.loads(body)["results"] or []
        return [_found(row) for row in rows if isinstance(row, dict)][:limit]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unavailable(f'Get "{url}": the answer is not a list of repositories') from None


def _found(row: dict[str, object]) -> Found:
    stars = row.get("star_count")
    return Found(_line(row.get("name")), _line(row.get("description")), stars if isinstance(stars, int) else 0,
                 row.get("is_official") is True, row.get("is_automated") is True)


def _line(value: object) -> str:
    """Foreign text ends up on a terminal: printable, bounded."""
    text = str(value or "")[:1000]
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)
