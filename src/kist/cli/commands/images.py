"""kist images: list images."""

from __future__ import annotations

from kist.cli.listing import FILTER, FORMAT, NO_TRUNC, filters, show
from kist.cli.output import ago, human_size, local_time, short_id
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.listing import Fields
    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]

COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
RAW = ("repository: {{.Repository}}\\ntag: {{.Tag}}\\nimage_id: {{.ID}}\\ncreated_at: {{.CreatedAt}}\\n"
       "virtual_size: {{.Size}}\\n")
WITH_DIGESTS = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def run(args: Arguments, session: Session) -> int:
    if args.flag("tree"):
        raise CliError("--tree is not supported: Kist lists images as a table")
    wanted = filters(args) or {}
    if args.words:
        wanted.setdefault("reference", []).append(args.words[0])
    images = session.client.images.list(all=args.flag("all"), filters=wanted or None)
    digests = args.flag("digests") or ".Digest" in args.text("format")
    rows = [row for image in images for row in names(image, digests=digests)]
    show(session, fields(wide=args.flag("no-trunc")), WITH_DIGESTS if digests else COLUMNS, rows,
         form=args.text("format"), quiet="ID" if args.flag("quiet") else "", type_="*formatter.imageContext", raw=RAW)
    return 0


def names(image: JSON, *, digests: bool) -> list[JSON]:
    """One row per name of an image: `Repository`, `Tag`, `Digest` beside what the server tells."""
    found = dict(digest.split("@", 1)
                   for digest in image.get("RepoDigests") or () if "@" in digest)
    shown = found if digests else {}
    rows = []
    for name in image.get("RepoTags") or ():
        repo, _, tag = name.rpartition(":")
        rows.append({**image, "Repository": repo, "Tag": tag, "Digest": shown.get(repo, "<none>")})
    if not rows:
        rows = [{**image, "Repository": repo, "Tag": "<none>", "Digest": shown.get(repo, "<none>")} for repo in found]
    return rows or [{**image, "Repository": "<none>", "Tag": "<none>", "Digest": "<none>"}]


def fields(*, wide: bool) -> Fields:
    return {
        "ID": ("IMAGE ID", lambda i: i["Id"] if wide else short_id(i["Id"])),
        "Repository": ("REPOSITORY", lambda i: i["Repository"]),
        "Tag": ("TAG", lambda i: i["Tag"]),
        "Digest": ("DIGEST", lambda i: i["Digest"]),
        "CreatedSince": ("CREATED", lambda i: ago(i["Created"]) if i["Created"] > 0 else "N/A"),
        "CreatedAt": ("CREATED AT", lambda i: local_time(i["Created"])),
        "Size": ("SIZE", lambda i: human_size(i["Size"])),
        "Containers": ("CONTAINERS", lambda i: _known(i.get("Containers", -1), str)),
        "SharedSize": ("SHARED SIZE", lambda i: _known(i.get("SharedSize", -1), _precise)),
        "UniqueSize": ("UNIQUE SIZE", lambda i: _known(
            i["Size"] - i["SharedSize"] if i.get("SharedSize", -1) >= 0 else -1, _precise)),
        "VirtualSize": ("SIZE", lambda i: human_size(i["Size"], 4)),
    }


def _precise(size: int) -> str:
    return human_size(size, 4)


def _known(number: int, text: Any) -> str:
    return text(number) if number >= 0 else "N/A"


COMMAND = Command(
    "List images", "[OPTIONS] [REPOSITORY[:TAG]]", run, arity=(0, 1),
    options=(
        ("all", "a", "", "Show all images, those in between as well"),
        ("digests", "", "", "Show digests"),
        FILTER,
        FORMAT,
        NO_TRUNC,
        ("quiet", "q", "", "Show only ids"),
        ("tree", "", "", "Show the variants of images as a tree"),
    ),
    requests=("ImageList",))
