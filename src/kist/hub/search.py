"""Search by name and description, for the pages, for `kist search` and for `docker search`.

    GET /v1/search?q=redis&n=25&page=1   Docker's form: {"num_results": …, "results": [{"name", "description", …}]}
    GET /api/search?q=redis&page=1       ours: more fields

Every word must be found; a name that is the word comes before one that begins with it, before one that
contains it, before a summary, before a description; then the most pulled.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kist.hub.hub import Hub, hub_of, in_thread
from kist.hub.metadata import Found, Metadata

PAGE = 25
MAX_PAGE = 100
MAX_FOUND = 5000
MAX_WORDS = 8


def search(metadata: Metadata, query: str, *, order: str = "best") -> list[Found]:
    """Repositories that match, best first; all of them for an empty query. ``order``: best, pulls, updated."""
    words = query.lower().split()[:MAX_WORDS]
    return sorted(metadata.search(words, MAX_FOUND), key=lambda one: (_place(one, words, order), -one.pulls, one.name))


def _place(one: Found, words: list[str], order: str) -> float:
    """The smaller, the earlier."""
    if order in ("pulls", "updated"):
        return -float(one.pulls if order == "pulls" else one.updated)
    return sum(_rank(one, word) for word in words)


def _rank(one: Found, word: str) -> int:
    name = one.name.lower()
    last = name.rpartition("/")[2]
    tests = (word in (name, last), last.startswith(word) or name.startswith(word), word in name,
             word in one.summary.lower())
    return next((rank for rank, true in enumerate(tests) if true), len(tests))


def visible(hub: Hub, request: Request, query: str, *, order: str = "best") -> list[Found]:
    """What whoever asks may see of the result."""
    return [found for found in search(hub.metadata, query, order=order)
            if not (found.private or hub.cache.upstream_of(found.name)) or hub.access.may_pull(request, found.name)]


# --- the two APIs ---------------------------------------------------------------------------------------------


async def docker_search(request: Request) -> Response:
    request.scope["kist.route"] = "search"
    query = request.query_params.get("q", "")
    size, number = min(_number(request, "n", PAGE), MAX_PAGE), _number(request, "page", 1)
    found = await in_thread(visible, hub_of(request), request, query)
    results = [{
        "name": one.name, "description": one.summary, "star_count": 0, "is_official": one.name.startswith("library/"),
        "is_automated": False, "is_trusted": False, "pull_count": one.pulls,
    } for one in found[(number - 1) * size:number * size]]
    return JSONResponse({"query": query, "num_results": len(found), "num_pages": -(-len(found) // size),
                         "page": number, "page_size": size, "results": results})


async def docker_ping(request: Request) -> Response:
    """What docker asks before it searches a registry."""
    return JSONResponse({"standalone": True}, headers={"X-Docker-Registry-Version": "0.6.0",
                                                       "X-Docker-Registry-Standalone": "true"})


async def api_search(request: Request) -> Response:
    request.scope["kist.route"] = "search"
    query, number = request.query_params.get("q", ""), _number(request, "page", 1)
    found = await in_thread(visible, hub_of(request), request, query)
    results = [{"name": one.name, "summary": one.summary, "private": one.private, "updated": one.updated,
                "pulls": one.pulls, "tags": one.tags} for one in found[(number - 1) * PAGE:number * PAGE]]
    return JSONResponse({"query": query, "total": len(found), "page": number, "results": results})


def _number(request: Request, key: str, default: int) -> int:
    text = request.query_params.get(key, "")
    return max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 7 else default
