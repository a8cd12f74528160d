"""kist network: create, connect, disconnect, ls, rm (inspect and prune are in modules of their own)."""

from __future__ import annotations

from kist.cli.listing import FILTER, FORMAT, NO_TRUNC, filters, label_text, show
from kist.cli.output import go_time, short_id
from kist.cli.parser import CliError, Command
from kist.cli.session import said
from kist.client.client import NoServer
from kist.errors import KistError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]

COLUMNS = ("ID", "Name", "Driver", "Scope")


def _ls(args: Arguments, session: Session) -> int:
    wide = args.flag("no-trunc")
    found = session.client.networks.list(filters(args))
    show(session, {
        "ID": ("NETWORK ID", (lambda n: n["Id"]) if wide else (lambda n: short_id(n["Id"]))),
        "Name": ("NAME", lambda n: n["Name"]),
        "Driver": ("DRIVER", lambda n: n["Driver"]),
        "Scope": ("SCOPE", lambda n: n["Scope"]),
        "IPv4": ("IPV4", lambda n: str(n.get("EnableIPv4", True)).lower()),
        "IPv6": ("IPV6", lambda n: str(n.get("EnableIPv6", False)).lower()),
        "Internal": ("INTERNAL", lambda n: str(n.get("Internal", False)).lower()),
        "Labels": ("LABELS", lambda n: label_text(n.get("Labels"))),
        "Label": ("", lambda n, name="": (n.get("Labels") or {}).get(name, "")),
        "CreatedAt": ("CREATED AT", lambda n: go_time(n.get("Created", ""))),
    }, COLUMNS, sorted(found, key=lambda n: str(n["Name"])), form=args.text("format"),
        quiet="ID" if args.flag("quiet") else "", type_="*network.networkContext",
        raw="network_id: {{.ID}}\\nname: {{.Name}}\\ndriver: {{.Driver}}\\nscope: {{.Scope}}\\n")
    return 0


def _create(args: Arguments, session: Session) -> int:
    from kist.cli.labels import labels

    body: JSON = {"Name": args.words[0], "Driver": args.text("driver")}
    for option, field in (("internal", "Internal"), ("attachable", "Attachable"), ("ingress", "Ingress"),
                          ("config-only", "ConfigOnly"), ("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if args.given(option):
            body[field] = args.flag(option)
    if args.text("scope"):
        body["Scope"] = args.text("scope")
    if args.text("config-from"):
        body["ConfigFrom"] = {"Network": args.text("config-from")}
    if args.given("label"):
        body["Labels"] = _pairs(labels(args))
    if args.given("opt"):
        body["Options"] = _pairs(args.list("opt"))
    if args.given("network-rate"):
        body.setdefault("Options", {})["kist.rate"] = args.text("network-rate")
    ipam = _ipam(args)
    if ipam:
        body["IPAM"] = ipam
    session.out(session.client.networks.create(body)["Id"])
    return 0


def _pairs(words: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _ipam(args: Arguments) -> JSON:
    from kist.cli.network_pools import pools

    found = pools(args.list("subnet"), args.list("ip-range"), args.list("gateway"), _pairs(args.list("aux-address")))
    ipam: JSON = {}
    if args.given("ipam-driver"):
        ipam["Driver"] = args.text("ipam-driver")
    if args.given("ipam-opt"):
        ipam["Options"] = _pairs(args.list("ipam-opt"))
    if found:
        ipam["Config"] = found
    return ipam


def _connect(args: Arguments, session: Session) -> int:
    endpoint: JSON = {}
    addresses = {field: args.values[option] for option, field in
                 (("ip", "IPv4Address"), ("ip6", "IPv6Address"), ("link-local-ip", "LinkLocalIPs"))
                 if args.given(option)}
    if addresses:
        endpoint["IPAMConfig"] = addresses
    for option, field in (("alias", "Aliases"), ("link", "Links")):
        if args.given(option):
            endpoint[field] = args.list(option)
    if args.given("driver-opt"):
        if any("=" not in word for word in args.list("driver-opt")):
            raise CliError("invalid key/value pair format in driver options")
        endpoint["DriverOpts"] = _pairs(args.list("driver-opt"))
    if args.given("gw-priority"):
        endpoint["GwPriority"] = args.number("gw-priority")
    session.client.networks.connect(args.words[0], args.words[1], endpoint)
    return 0


def _disconnect(args: Arguments, session: Session) -> int:
    session.client.networks.disconnect(args.words[0], args.words[1], force=args.flag("force"))
    return 0


def _rm(args: Arguments, session: Session) -> int:
    problems = []
    for name in args.words:
        try:
            session.client.networks.remove(name)
            session.out(name)
        except NoServer:
            raise
        except KistError as error:
            if not (args.flag("force") and isinstance(error, NotFound)):
                problems.append(said(error))
    if problems:
        session.warn("\n".join(problems))
        return 1
    return 0


LS = Command("List networks", "[OPTIONS]", _ls, options=(
    FILTER, FORMAT, NO_TRUNC, ("quiet", "q", "", "Show only ids")), requests=("NetworkList",))
CREATE = Command("Create a network", "[OPTIONS] NETWORK", _create, arity=(1, 1), options=(
    ("attachable", "", "", "Containers may be attached by hand"),
    ("aux-address", "", "map", "Addresses that the driver uses (name=address)"),
    ("config-from", "", "string", "Network to copy the configuration from"),
    ("config-only", "", "", "Make a configuration only"),
    ("driver", "d", "string", "Driver of the network", "bridge"),
    ("gateway", "", "strings", "Gateway of a subnet"),
    ("ingress", "", "", "Make the mesh that a swarm routes by"),
    ("internal", "", "", "No way out of the network"),
    ("ip-range", "", "strings", "Part of a subnet to take addresses from"),
    ("ipam-driver", "", "string", "Driver that manages addresses", "default"),
    ("ipam-opt", "", "map", "Options of that driver"),
    ("ipv4", "", "", "Give IPv4 addresses", True),
    ("ipv6", "", "", "Give IPv6 addresses"),
    ("label", "", "list", "Set a label"),
    ("network-rate", "", "string", "Limit of what its containers together send and receive (10mbit)"),
    ("opt", "o", "map", "Options of the driver"),
    ("scope", "", "string", "Scope of the network"),
    ("subnet", "", "strings", "Subnet (10.1.0.0/16)"),
), requests=("NetworkCreate",))
CONNECT = Command("Connect a container to a network", "[OPTIONS] NETWORK CONTAINER", _connect, arity=(2, 2), options=(
    ("alias", "", "strings", "Add a name in the network"),
    ("driver-opt", "", "strings", "Options of the driver"),
    ("gw-priority", "", "int", "The network of the highest number is the default way out"),
    ("ip", "", "string", "IPv4 address"),
    ("ip6", "", "string", "IPv6 address"),
    ("link", "", "list", "Add a link to another container"),
    ("link-local-ip", "", "strings", "Link-local addresses"),
), requests=("NetworkConnect",))
DISCONNECT = Command("Disconnect a container from a network", "[OPTIONS] NETWORK CONTAINER", _disconnect,
                     arity=(2, 2), options=(("force", "f", "", "Disconnect it by force"),),
                     requests=("NetworkDisconnect",))
RM = Command("Remove one or more networks", "NETWORK [NETWORK...]", _rm, arity=(1, None),
             options=(("force", "f", "", "No error when there is no such network"),), requests=("NetworkDelete",))
