"""Front page, search, and a repository's page with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from kist.errors import InvalidParameter, KistError
from kist.hub.access import AccountAccess
from kist.hub.accounts import Level
from kist.hub.errors import HubError
from kist.hub.hub import Hub, hub_of, in_thread
from kist.hub.metadata import Repository, StoredManifest, Tag
from kist.hub.search import PAGE, visible
from kist.hub.web import markdown, plot
from kist.hub.web.read import image_size, images_of, parsed_manifest, read_config, readable
from kist.hub.web.render import form, moved, page
from kist.oci.manifest import Index, Manifest

FRONT = 6
TAGS_PAGE = 50
MOST_SEARCHED = 20_000  # tags looked through for some that have a word in their name
PLOT_DAYS = 60


async def front(request: Request) -> Response:
    hub = hub_of(request)
    recent = await in_thread(visible, hub, request, "", order="updated")
    popular = await in_thread(visible, hub, request, "", order="pulls")
    return await page(request, "front.html", recent=recent[:FRONT],
                      popular=[one for one in popular if one.pulls][:FRONT], count=len(recent),
                      tags=sum(one.tags for one in recent))


async def search(request: Request) -> Response:
    query = request.query_params.get("q", "")[:200]
    order = request.query_params.get("order", "best")
    text = request.query_params.get("page", "1")
    number = max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 6 else 1
    found = await in_thread(visible, hub_of(request), request, query, order=order)
    return await page(request, "search.html", q=query, order=order, number=number, total=len(found),
                      pages=-(-len(found) // PAGE), found=found[(number - 1) * PAGE:number * PAGE])


@dataclass(frozen=True)
class TagRow:
    """One line of the tags' table."""

    tag: Tag
    platforms: list[str]
    size: int  # compressed bytes, of the largest platform
    kind: str  # "image", "index" or "artifact"


async def repository(request: Request, name: str) -> Response:
    hub = hub_of(request)
    found = await in_thread(readable, hub, request, name)
    last, wanted = request.query_params.get("last", ""), request.query_params.get("tag", "").strip()[:128]
    tags, more = await in_thread(_tags, hub, name, wanted, last)
    rows = await in_thread(tag_rows, hub, name, tags)
    today = datetime.fromtimestamp(hub.metadata.clock(), UTC).date()
    pulls, total = await in_thread(_pulls, hub, name, today)
    level = await in_thread(hub.access.level, request, name)
    return await page(
        request, "repository.html", repository=found, rows=rows, first=not last, more=more, wanted=wanted, pulls=total,
        days=PLOT_DAYS, counts=pulls, run=run_line(request.url.netloc, name, rows),
        since=_day(plot.days_until(today, PLOT_DAYS)[0]),
        plot=plot.bars(pulls, today, PLOT_DAYS),
        may_admin=level >= Level.ADMIN and not hub.cache.upstream_of(name))


def _pulls(hub: Hub, name: str, today: date) -> tuple[dict[str, int], int]:
    hub.flush_pulls()
    return hub.metadata.pulls(name, plot.days_until(today, PLOT_DAYS)[0]), hub.metadata.total_pulls(name)


def _day(iso: str) -> str:
    """"2026-01-05" as "5 Jan"."""
    found = date.fromisoformat(iso)
    return f"{found.day} {found:%b}"


def run_line(host: str, name: str, rows: list[TagRow]) -> str:
    """What to type for it, with the tag "latest" or the last one; nothing where there is no tag to name."""
    chosen = next((row for row in rows if row.tag.name == "latest"), rows[-1] if rows else None)
    if chosen is None:
        return ""
    does = "oras pull" if chosen.kind == "artifact" else "kist run"
    plain = chosen.tag.name == "latest" and chosen.kind != "artifact"
    return f"{does} {host}/{name}" + ("" if plain else f":{chosen.tag.name}")


def _tags(hub: Hub, name: str, wanted: str, last: str) -> tuple[list[Tag], str]:
    """A page of the tags that have ``wanted`` in their name, after ``last``; the page's last name if there are more.

    On the first page "latest" comes first, wherever its place is.
    """
    found: list[Tag] = []
    at, seen = last, 0
    while len(found) <= TAGS_PAGE and seen < MOST_SEARCHED:
        step = hub.metadata.tags(name, TAGS_PAGE + 1 if not wanted else 1000, at)
        found += [tag for tag in step if wanted.lower() in tag.name.lower()]
        seen += len(step)
        if not step or not wanted:
            break
        at = step[-1].name
    page, more = found[:TAGS_PAGE], found[TAGS_PAGE - 1].name if found[TAGS_PAGE:] else ""
    if not last and not wanted:
        latest = hub.metadata.manifest_of_tag(name, "latest")
        updated = hub.metadata.tag_updated(name, "latest")
        if latest is not None and updated is not None:
            page = [Tag("latest", latest.digest, updated), *(tag for tag in page if tag.name != "latest")]
    return page, more


def tag_rows(hub: Hub, name: str, tags: list[Tag]) -> list[TagRow]:
    return [TagRow(tag, *_summary(hub, name, hub.metadata.manifest(name, tag.digest))) for tag in tags]


def _summary(hub: Hub, name: str, stored: StoredManifest | None) -> tuple[list[str], int, str]:
    parsed = parsed_manifest(stored)
    if isinstance(parsed, Index):
        children = [parsed_manifest(hub.metadata.manifest(name, entry.digest)) for entry in parsed.manifests]
        sizes = [image_size(child) for child in children if isinstance(child, Manifest)]
        return [str(entry.platform) for entry in images_of(parsed) if entry.platform], max(sizes, default=0), "index"
    if parsed is None or not parsed.is_image:
        return [], image_size(parsed) if parsed else 0, "artifact"
    return [platform] if (platform := _platform(hub, name, parsed)) else [], image_size(parsed), "image"


def _platform(hub: Hub, name: str, parsed: Manifest) -> str:
    config = read_config(hub, name, parsed)
    return str(config.platform) if config else ""


# --- a repository's settings ------------------------------------------------------------------------------------


async def settings(request: Request, name: str) -> Response:
    hub = hub_of(request)
    found = await in_thread(_administered, hub, request, name)
    problem = ""
    if request.method == "POST":
        fields = await form(request)
        try:
            return moved(await in_thread(_save, hub, name, fields))
        except KistError as error:
            problem = str(error)
    return await page(request, "repository_settings.html", 400 if problem else 200, repository=found, problem=problem,
                      grants=await in_thread(_grants, hub, name), Level=Level)


def _administered(hub: Hub, request: Request, name: str) -> Repository:
    found = readable(hub, request, name)
    if hub.access.level(request, name) < Level.ADMIN or hub.cache.upstream_of(name):
        raise HubError("DENIED", "only those who look after this repository may change it")
    return found


def _save(hub: Hub, name: str, fields: Mapping[str, str]) -> str:
    """Do what the form says; the path to go to."""
    if "user" in fields:
        if not isinstance(hub.access, AccountAccess):
            raise InvalidParameter("this Hub has no accounts")
        hub.access.accounts.grant(name, fields["user"].strip(), Level.parse(fields.get("level", "")))
        return f"/r/{quote(name)}/-/settings"
    summary = " ".join(fields.get("summary", "").split())[:200]
    hub.metadata.describe(name, summary=summary, description=fields.get("description", "")[:markdown.LONGEST],
                          private="private" in fields, immutable="immutable" in fields)
    return f"/r/{quote(name)}"


def _grants(hub: Hub, name: str) -> dict[str, Level]:
    if not isinstance(hub.access, AccountAccess):
        return {}
    return hub.access.accounts.grants(name)
