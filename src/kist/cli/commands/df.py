"""kist system df: what takes how much room."""

from __future__ import annotations

from kist.cli.listing import FORMAT, show
from kist.cli.output import ago, human_size, parse_time, short_id
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from kist.cli.listing import Fields
    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]

COLUMNS = ("Type", "TotalCount", "Active", "Size", "Reclaimable")


def run(args: Arguments, session: Session) -> int:
    form = args.text("format")
    if args.flag("verbose") and form not in ("", "table"):
        _each_by_template(session, form)
        return 0
    told = session.client.system.df()
    if args.flag("verbose"):
        _verbose(session, told)
        return 0
    show(session, {
        "Type": ("TYPE", lambda r: r["Type"]),
        "TotalCount": ("TOTAL", lambda r: r["TotalCount"]),
        "Active": ("ACTIVE", lambda r: r["Active"]),
        "Size": ("SIZE", lambda r: human_size(r["Size"], 4)),
        "Reclaimable": ("RECLAIMABLE", _reclaimable),
    }, COLUMNS, rows(told), form=args.text("format"), type_="*formatter.diskUsageImagesContext",
        raw="type: {{.Type}}\\ntotal: {{.TotalCount}}\\nactive: {{.Active}}\\nsize: {{.Size}}\\n"
            "reclaimable: {{.Reclaimable}}\\n")
    return 0


def rows(told: JSON) -> list[JSON]:
    """One row per kind of thing: how many, how many in use, bytes, bytes that nobody uses."""
    images, containers = told.get("Images") or [], told.get("Containers") or []
    volumes, cache = (told.get("Volumes") or []), told.get("BuildCache") or []
    used = sum(i["Size"] - i["SharedSize"] for i in images
               if i.get("Containers", 0) > 0 and i["Size"] >= 0 and i.get("SharedSize", -1) >= 0)
    running = [c for c in containers if c.get("State") in ("running", "paused", "restarting")]
    in_use = [v for v in volumes if (v.get("UsageData") or {}).get("RefCount", 0) > 0]
    layers = told.get("LayersSize", 0)
    return [
        {"Type": "Images", "TotalCount": len(images), "Size": layers,
         "Active": sum(i.get("Containers", 0) > 0 for i in images), "Free": max(layers - used, 0), "Percent": True},
        {"Type": "Containers", "TotalCount": len(containers), "Active": len(running), "Percent": True,
         "Size": _sum(containers, "SizeRw"), "Free": _sum([c for c in containers if c not in running], "SizeRw")},
        {"Type": "Local Volumes", "TotalCount": len(volumes), "Active": len(in_use), "Percent": True,
         "Size": _volume_size(volumes), "Free": _volume_size([v for v in volumes if v not in in_use])},
        {"Type": "Build Cache", "TotalCount": len(cache), "Active": sum(bool(c.get("InUse")) for c in cache),
         "Size": _sum(cache, "Size"), "Percent": False,
         "Free": _sum([c for c in cache if not c.get("InUse") and not c.get("Shared")], "Size")},
    ]


def _sum(things: list[JSON], field: str) -> int:
    return sum(thing.get(field) or 0 for thing in things)


def _volume_size(volumes: list[JSON]) -> int:
    return sum(max((v.get("UsageData") or {}).get("Size", 0), 0) for v in volumes)


def _reclaimable(row: JSON) -> str:
    text = human_size(row["Free"], 4)
    return f"{text} ({row['Free'] * 100 // row['Size']}%)" if row["Percent"] and row["Size"] else text


def _each_by_template(session: Session, form: str) -> None:
    """One template for everything: `{{range .Images}}{{.Repository}}{{end}}`."""
    from kist.cli.commands import images, ps, volume
    from kist.cli.details import details_template
    from kist.cli.gotemplate.errors import TemplateError
    from kist.cli.gotemplate.values import USAGE, Row, Value

    template = details_template(form)
    told = session.client.system.df()

    def lines(fields: Fields, found: Iterable[JSON], type_: str) -> list[Row]:
        getters = {name: getter for name, (_, getter) in fields.items()}
        return [Row(getters, one, type_) for one in found]

    found = {
        "Images": lines(images.fields(wide=True), _images(told), "*formatter.imageContext"),
        "Containers": lines({**ps.fields(wide=True), **OWN_SIZE}, told.get("Containers") or (), ps.TYPE),
        "Volumes": lines(volume.FIELDS, told.get("Volumes") or (), "*formatter.volumeContext"),
        "BuildCache": lines(CACHE, told.get("BuildCache") or (), "*formatter.buildCacheContext"),
    }
    try:
        session.write(template.render(Value(USAGE, found)))
    except TemplateError as error:
        raise CliError(str(error)) from None


OWN_SIZE: Fields = {"Size": ("SIZE", lambda c: human_size(c.get("SizeRw") or 0))}
CACHE: Fields = {
    "ID": ("CACHE ID", lambda c: short_id(c["ID"])),
    "Type": ("CACHE TYPE", lambda c: c["Type"]),
    "Size": ("SIZE", lambda c: human_size(c["Size"])),
    "Created": ("CREATED", lambda c: ago(parse_time(c["CreatedAt"]))),
    "LastUsed": ("LAST USED", lambda c: ago(parse_time(c["LastUsedAt"])) if c.get("LastUsedAt") else ""),
    "Usage": ("USAGE", lambda c: c.get("UsageCount", 0)),
    "Shared": ("SHARED", lambda c: str(bool(c.get("Shared"))).lower()),
}


def _images(told: JSON) -> list[JSON]:
    """A row for each image, by its first name."""
    from kist.cli.commands import images

    return [{**images.names(one, digests=False)[0], "Digest": ""} for one in told.get("Images") or ()]


def _verbose(session: Session, told: JSON) -> None:
    from kist.cli.commands import images, ps

    session.out("Images space usage:\n")
    show(session, images.fields(wide=False),
         ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"),
         _images(told))
    session.out("\nContainers space usage:\n")
    show(session, {**ps.fields(wide=False), **OWN_SIZE},
         ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"),
         told.get("Containers") or ())
    session.out("\nLocal Volumes space usage:\n")
    show(session, {
        "Name": ("VOLUME NAME", lambda v: v["Name"]),
        "Links": ("LINKS", lambda v: v["UsageData"]["RefCount"]),
        "Size": ("SIZE", lambda v: human_size(max(v["UsageData"]["Size"], 0))),
    }, ("Name", "Links", "Size"), told.get("Volumes") or ())
    cache = told.get("BuildCache") or ()
    session.out(f"\nBuild cache usage: {human_size(sum(c.get('Size', 0) for c in cache), 4)}\n")
    show(session, CACHE, ("ID", "Type", "Size", "Created", "LastUsed", "Usage", "Shared"), cache)


COMMAND = Command("Show disk usage", "[OPTIONS]", run, options=(
    FORMAT, ("verbose", "v", "", "Show each thing")), requests=("SystemDataUsage",))
