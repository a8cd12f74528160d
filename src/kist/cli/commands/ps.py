"""kist ps: list containers."""

from __future__ import annotations

from kist.cli.listing import FILTER, FORMAT, NO_TRUNC, filters, label_text, show
from kist.cli.output import ago, ellipsis, human_size, local_time, quoted, short_id
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from kist.cli.listing import Fields
    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]

TYPE = "*formatter.ContainerContext"
RAW = ("container_id: {{.ID}}\\nimage: {{.Image}}\\ncommand: {{.Command}}\\ncreated_at: {{.CreatedAt}}\\n"
       "state: {{- if .State}} {{.State}}{{end}}\\nstatus: {{- if .Status}} {{.Status}}{{end}}\\nnames: {{.Names}}\\n"
       "labels: {{- if .Labels}} {{.Labels}}{{end}}\\nports: {{- if .Ports}} {{.Ports}}{{end}}\\n")
COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def run(args: Arguments, session: Session) -> int:
    last = args.number("last") or -1
    if args.flag("latest") and not args.given("last"):
        last = 1
    form = args.text("format")
    if args.flag("quiet") and form:
        session.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.")
        form = ""
    size = args.flag("size") or (form != "" and _wants_size(form))
    found = session.client.containers.list(all=args.flag("all") or last > 0, limit=last if last > 0 else None,
                                           size=size, filters=filters(args))
    show(session, fields(wide=args.flag("no-trunc")), COLUMNS + ("Size",) * args.flag("size"), found, form=form,
         quiet="ID" if args.flag("quiet") else "", type_=TYPE, raw=RAW + "size: {{.Size}}\\n" * args.flag("size"))
    return 0


def _wants_size(form: str) -> bool:
    """Whether a template shows sizes; Docker tries it on a container that isn't there, and says so if it fails."""
    from kist.cli.gotemplate.errors import ParseError, TemplateError
    from kist.cli.gotemplate.execute import Template
    from kist.cli.gotemplate.values import Row, Value

    asked = []

    def noted(name: str) -> Callable[..., str]:
        return lambda _data, *_arguments: asked.append(name) or ""  # type: ignore[func-returns-value]

    try:
        Template(form).render(Value(TYPE, Row({name: noted(name) for name in fields(wide=False)}, None)))
    except ParseError as error:
        raise CliError(f"failed to parse template: {error}") from None
    except TemplateError as error:
        raise CliError(f"failed to execute template: {error}") from None
    return "Size" in asked


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
    """`90/udp, 0.0.0.0:80-81->80-81/tcp, 0.0.0.0:8080->82/tcp`: ports in a row that have the host's same numbers are
    one entry; those with other numbers come last (docker/cli: formatter.DisplayablePorts)."""
    done: list[str] = []
    runs: dict[tuple[str, str], list[int]] = {}  # (address, protocol) → first and last
    mapped: list[str] = []
    for port in sorted(ports, key=lambda p: (p["PrivatePort"], p.get("IP", ""), p.get("PublicPort", 0), p["Type"])):
        number, address, protocol = port["PrivatePort"], port.get("IP", ""), port["Type"]
        if address and port.get("PublicPort", 0) != number:
            mapped.append(f"{_host(address)}:{port.get('PublicPort', 0)}->{number}/{protocol}")
            continue
        run = runs.get((address, protocol))
        if run is not None and run[1] == number - 1:
            run[1] = number
            continue
        if run is not None:
            done.append(_entry(address, protocol, run))
        runs[address, protocol] = [number, number]
    return ", ".join(done + [_entry(*key, run) for key, run in runs.items()] + mapped)


def _entry(address: str, protocol: str, run: list[int]) -> str:
    text = str(run[0]) if run[0] == run[1] else f"{run[0]}-{run[1]}"
    return f"{_host(address)}:{text}->{text}/{protocol}" if address else f"{text}/{protocol}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


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
