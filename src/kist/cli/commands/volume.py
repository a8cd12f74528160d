"""kist volume: create, ls, rm (inspect and prune are in modules of their own)."""

from __future__ import annotations

from kist.cli.listing import FILTER, FORMAT, filters, label_text, show
from kist.cli.output import human_size
from kist.cli.parser import CliError, Command
from kist.cli.session import said
from kist.client.client import NoServer
from kist.errors import KistError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.listing import Fields
    from kist.cli.parser import Arguments, Option
    from kist.cli.session import Session

# Options of Docker's cluster volumes, which live in swarms.
CLUSTER: tuple[Option, ...] = (
    ("availability", "", "string", "Availability of a cluster volume"),
    ("group", "", "string", "Group of a cluster volume"),
    ("limit-bytes", "", "bytes", "Largest size of a cluster volume"),
    ("required-bytes", "", "bytes", "Least size of a cluster volume"),
    ("scope", "", "string", "Scope of a cluster volume"),
    ("secret", "", "map", "Secrets of a cluster volume"),
    ("sharing", "", "string", "Sharing of a cluster volume"),
    ("topology-preferred", "", "list", "Topology that a cluster volume prefers"),
    ("topology-required", "", "list", "Topology that a cluster volume needs"),
    ("type", "", "string", "Type of a cluster volume"),
)


FIELDS: Fields = {
    "Driver": ("DRIVER", lambda v: v["Driver"]),
    "Name": ("VOLUME NAME", lambda v: v["Name"]),
    "Scope": ("SCOPE", lambda v: v.get("Scope", "local")),
    "Mountpoint": ("MOUNTPOINT", lambda v: v["Mountpoint"]),
    "Labels": ("LABELS", lambda v: label_text(v.get("Labels"))),
    "Label": ("", lambda v, name="": (v.get("Labels") or {}).get(name, "")),
    "Links": ("LINKS", lambda v: (v.get("UsageData") or {}).get("RefCount", "N/A")),
    "Size": ("SIZE", lambda v: human_size(v["UsageData"]["Size"]) if v.get("UsageData") else "N/A"),
    "Status": ("STATUS", lambda v: "N/A"),
    "Availability": ("AVAILABILITY", lambda v: "N/A"),
    "Group": ("GROUP", lambda v: "N/A"),
}


def _ls(args: Arguments, session: Session) -> int:
    if args.flag("cluster"):
        raise CliError("--cluster is not supported: Kist has no swarm mode")
    found = session.client.volumes.list(filters(args)).get("Volumes") or []
    show(session, FIELDS, ("Driver", "Name"), sorted(found, key=lambda v: str(v["Name"])), form=args.text("format"),
        quiet="Name" if args.flag("quiet") else "", type_="*formatter.volumeContext",
        raw="name: {{.Name}}\\ndriver: {{.Driver}}\\n")
    return 0


def _create(args: Arguments, session: Session) -> int:
    from kist.cli.labels import labels

    for row in CLUSTER:
        if args.given(row[0]):
            raise CliError(f"--{row[0]} is not supported: Kist has no swarm mode")
    if args.words and args.given("name"):
        raise CliError("conflicting options: cannot specify a volume-name through both --name and as a "
                       "positional arg")
    body: dict[str, Any] = {"Driver": args.text("driver")}
    name = args.words[0] if args.words else args.text("name")
    if name:
        body["Name"] = name
    for option, field in (("label", "Labels"), ("opt", "DriverOpts")):
        if args.given(option):
            words = labels(args) if option == "label" else args.list(option)
            body[field] = {key: value for key, _, value in (word.partition("=") for word in words)}
    session.out(session.client.volumes.create(body)["Name"])
    return 0


def _rm(args: Arguments, session: Session) -> int:
    problems = []
    for name in args.words:
        try:
            session.client.volumes.remove(name, force=args.flag("force"))
            session.out(name)
        except NoServer:
            raise
        except KistError as error:
            problems.append(said(error))
    if problems:
        raise CliError("\n".join(problems))
    return 0


LS = Command("List volumes", "[OPTIONS]", _ls, options=(
    ("cluster", "", "", "Show cluster volumes"), FILTER, FORMAT, ("quiet", "q", "", "Show only names")),
    requests=("VolumeList",))
CREATE = Command("Create a volume", "[OPTIONS] [VOLUME]", _create, arity=(0, 1), options=(
    ("driver", "d", "string", "Driver of the volume", "local"),
    ("label", "", "list", "Set a label"),
    ("name", "", "string", ""),
    ("opt", "o", "map", "Options of the driver"),
    *CLUSTER,
), requests=("VolumeCreate",))
RM = Command("Remove one or more volumes", "[OPTIONS] VOLUME [VOLUME...]", _rm, arity=(1, None),
             options=(("force", "f", "", "No error when there is no such volume"),), requests=("VolumeDelete",))
