"""kist search: look for images in a registry."""

from __future__ import annotations

from kist.cli.listing import FILTER, FORMAT, NO_TRUNC, filters, show
from kist.cli.output import ellipsis
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    found = session.client.images.search(args.words[0], limit=args.number("limit") or None,
                                         filters=filters(args))
    wide = args.flag("no-trunc")
    show(session, {
        "Name": ("NAME", lambda r: r["name"]),
        "Description": ("DESCRIPTION", lambda r: _line(r.get("description") or "", wide=wide)),
        "StarCount": ("STARS", lambda r: r.get("star_count", 0)),
        "IsOfficial": ("OFFICIAL", lambda r: "[OK]" if r.get("is_official") else ""),
    }, ("Name", "Description", "StarCount", "IsOfficial"), found, form=args.text("format"),
        type_="*registry.searchContext")
    return 0


def _line(text: str, *, wide: bool) -> str:
    plain = " ".join(text.split())
    return plain if wide else ellipsis(plain, 45)


COMMAND = Command(
    "Search a registry for images", "[OPTIONS] TERM", run, arity=(1, 1),
    options=(FILTER, FORMAT, ("limit", "", "int", "How many to show"), NO_TRUNC),
    requests=("ImageSearch",))
