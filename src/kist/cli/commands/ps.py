"""kist ps: list containers."""

from __future__ import annotations

from kist.cli.listing import FILTER, FORMAT, NO_TRUNC, filters, label_text, show
from kist.cli.output import ago, ellipsis, human_size, local_time, quoted, short_id
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.listing import Fields
    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]

COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def run(args: Arguments, session: Session) -> int:
    last = args.number("last") or -1
    if args.flag("latest") and not args.given("last"):
        last = 1
    form = args.text("format")
    size = args.flag("size") or ".Size" in form
    found = session.client.containers.list(all=args.flag("all") or last > 0, limit=last if last > 0 else None,
                                           size=size, filters=filters(args))
    show(session, fields(wide=args.flag("no-trunc")), COLUMNS + ("Size",) * args.flag("size"), found, form=form,
         quiet="ID" if args.flag("quiet") else "")
    return 0


def fields(*, wide: bool) -> Fields:
    """What a container's line can show; `wide`: nothing is shortened."""
    return {
        "ID": ("CONTAINER ID", (lambda c: c["Id"]) if wide else (lambda c: c["Id"][:12])),
        "Names": ("NAMES", lambda c: _names(c, wide=wide)),
        "Image": ("IMAGE", lambda c: c["Image"] if wide else _image(c)),
        "Command": ("COMMAND", lambda c: quoted(c["Command"] if wide else ellipsis(c["Command"], 20))),
        "CreatedAt": ("CREATED AT", lambda c: local_time(c["Created"])),
        "RunningFor": ("CREATED", lambda c: ago(c["Created"])),
        "Ports": ("PORTS", lambda c: ports_text(c.get("Ports") or [])),
        "State": ("STATE", lambda c: c["State"]),
        "Status": ("STATUS", lambda c: c["Status"]),
        "Size": ("SIZE", _size),
        "Labels": ("LABELS", lambda c: label_text(c.get("Labels"))),
        "Label": ("", lambda c, name="": (c.get("Labels") or {}).get(name, "")),
        "Mounts": ("MOUNTS", lambda c: _mounts(c, wide=wide)),
        "LocalVolumes": ("LOCAL VOLUMES", lambda c: sum(m.get("Driver") == "local" for m in c.get("Mounts") or ())),
        "Platform": ("PLATFORM", lambda c: None),
        "Networks": ("NETWORKS", lambda c: ",".join((c.get("NetworkSettings") or {}).get("Networks") or ())),
    }


def _names(container: JSON, *, wide: bool) -> str:
    names = [name.removeprefix("/") for name in container.get("Names") or ()]
    return ",".join(name for name in names if wide or "/" not in name)  # the others are names of links


def _image(container: JSON) -> str:
    image = str(container["Image"]) or "<no image>"
    if image.startswith("sha256:") or short_id(container.get("ImageID", "")) == image[:12]:
        return short_id(image)
    name, _, digest = image.partition("@")
    return name if digest and ":" in name.rpartition("/")[2] else image


def _size(container: JSON) -> str:
    text = human_size(container.get("SizeRw", 0))
    virtual = container.get("SizeRootFs", 0)
    return f"{text} (virtual {human_size(virtual)})" if virtual > 0 else text


def _mounts(container: JSON, *, wide: bool) -> str:
    names = [mount.get("Name") or mount.get("Source", "") for mount in container.get("Mounts") or ()]
    return ",".join(name if wide else ellipsis(name, 15) for name in names)


def ports_text(ports: list[JSON]) -> str:
    """`0.0.0.0:8000-8001->80-81/tcp, 90/udp`: ports in a row on one address are one entry."""
    runs: list[tuple[str, str, list[int], list[int]]] = []  # (address, protocol, first and last public, private)
    for port in sorted(ports, key=lambda p: (p.get("IP", ""), p.get("Type", ""), p["PrivatePort"],
                                             p.get("PublicPort", 0))):
        public, private = port.get("PublicPort", 0), port["PrivatePort"]
        address = port.get("IP", "") if public else ""
        if runs and runs[-1][:2] == (address, port["Type"]) and runs[-1][3][1] == private - 1 and (
                runs[-1][2][1] == public - 1 if public else not runs[-1][2][1]):
            runs[-1][2][1], runs[-1][3][1] = public, private
        else:
            runs.append((address, port["Type"], [public, public], [private, private]))
    shown = []
    for address, protocol, public_range, private_range in runs:
        target = f"{_range(private_range)}/{protocol}"
        host = f"[{address}]" if ":" in address else address
        shown.append((private_range[0], f"{host}:{_range(public_range)}->{target}" if public_range[1] else target))
    return ", ".join(text for _, text in sorted(shown, key=lambda pair: pair[0]))


def _range(ends: list[int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]}-{ends[1]}"


COMMAND = Command(
    "List containers", "[OPTIONS]", run,
    options=(
        ("all", "a", "", "Show all containers, not only running ones"),
        FILTER,
        FORMAT,
        ("last", "n", "int", "Show the last n containers, whatever their state", -1),
        ("latest", "l", "", "Show the last container, whatever its state"),
        NO_TRUNC,
        ("quiet", "q", "", "Show only ids"),
        ("size", "s", "", "Show how much room they take"),
    ),
    requests=("ContainerList",))
