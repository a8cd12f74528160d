"""The map of networks (`GET /kist/networks/map`) in words: what its drawings, in a terminal and as SVG, share. Pure.

    {"Host": {"Addresses": […]},
     "Networks": [{Name, Id, Driver, Bridge, Parent, Internal, BetweenContainers, Outward, MTU, Subnets: […]}…],
     "Containers": [{Id, Name, Mode, Shares, Networks: [{Name, Interface, IPv4, IPv6, MAC, Names}…], Ports: […]}…],
     "Reach": [{From, To, Network | Ports | both}…]}     (engine/network/reach.py)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    JSON = dict[str, Any]

ADDRESSES = 4  # of the host, at most
EVERYWHERE = ("0.0.0.0", "::")


def in_order(found: JSON) -> list[JSON]:
    """The containers by their first network, then by name; those in another one's namespace right behind it."""
    order = {network["Name"]: number for number, network in enumerate(found["Networks"])}
    by_id = {one["Id"]: one for one in found["Containers"]}

    def key(one: JSON) -> tuple[int, str, str]:
        owner = by_id.get(one["Shares"], one)
        first = min((order[name] for name in on(owner) if name in order), default=len(order))
        return first, owner["Name"], "" if owner is one else one["Name"]

    return sorted(found["Containers"], key=key)


def on(container: JSON) -> set[str]:
    """The names of its networks."""
    return {network["Name"] for network in container["Networks"]}


def names(containers: Iterable[JSON]) -> dict[str, str]:
    """What the places of `Reach` are called, in the order in which the table has them."""
    return {**{one["Id"]: one["Name"] for one in containers}, "host": "host", "outside": "outside"}


def is_on_wire(network: JSON) -> bool:
    """Whether it hangs on the wire of a network card, beside the host."""
    return bool(network["Driver"] != "bridge")


def host_addresses(found: JSON) -> str:
    addresses = found["Host"]["Addresses"]
    return _joined([*addresses[:ADDRESSES], "…" if len(addresses) > ADDRESSES else ""])


def container_name(container: JSON) -> str:
    return f"└ {container['Name']}" if container["Shares"] else str(container["Name"])


def addresses(container: JSON, called: dict[str, str]) -> str:
    """Its addresses, or whose it has."""
    if container["Shares"]:
        return f"in {called.get(container['Shares'], container['Shares'][:12])}'s network"
    if container["Mode"] == "host":
        return "in the host's network"
    return _joined(address for one in container["Networks"] for address in (one["IPv4"], one["IPv6"])) or "no network"


def ports(container: JSON) -> str:
    """`8080 → 80/tcp`, with the host's address in front unless that is any."""
    return ", ".join(dict.fromkeys(
        f"{_place(port['HostIp'])}{port['HostPort']} → {port['Port']}/{port['Protocol']}" if port["HostPort"] else
        f"{port['Port']}/{port['Protocol']}" for port in container["Ports"]))


def _place(address: str) -> str:
    if address in EVERYWHERE:
        return ""
    return f"[{address}]:" if ":" in address else f"{address}:"


def subnets(network: JSON) -> str:
    return _joined(one["Subnet"] for one in network["Subnets"])


def notes(network: JSON) -> str:
    """What is special about it."""
    below = network["Bridge"] or f"{network['Driver']} on {network['Parent'] or 'nothing'}"
    return _joined([below, "internal" if network["Internal"] else "",
                    "routed" if network["Outward"] == "routed" else "",
                    "" if network["BetweenContainers"] else "containers apart"])


def by_link(way: JSON) -> bool:
    """Whether it is a link: directly, but to some ports only."""
    return "Ports" in way and "Network" in way


def way(found: JSON | None) -> str:
    """How one place reaches another, in words; "" when it doesn't."""
    if found is None:
        return ""
    if by_link(found):
        return f"link to port {', '.join(found['Ports'])} on network {found['Network']}"
    if "Ports" in found:
        return f"published port {', '.join(found['Ports'])}"
    return f"network {found['Network']}" if found["Network"] else "directly"


def _joined(words: Iterable[str]) -> str:
    return "  ".join(filter(None, words))
