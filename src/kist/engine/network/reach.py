"""Who can reach whom: the map that `kist network map` draws, as data. Pure.

The map says what Kist's own rules (firewall.py) and the devices allow. What the host's firewall closes besides
isn't in it. A *way* from one place to another is one of

    {"From", "To", "Network": name}      directly, at the other's address on that network ("": not by one of ours)
    {"From", "To", "Ports": ["8080/tcp"]}    by ports of the host that the other publishes
    {"From", "To", "Network": name, "Ports": ["80/tcp"]}    by a link: at its own address, but at these ports only

where a place is a container's id, "host" or "outside" (other machines).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from kist.engine.network.addressing import gateways
from kist.engine.network.firewall import ISOLATED, ROUTED, UNPROTECTED
from kist.engine.network.model import BRIDGE, CONFIG, HOST, IPVLAN, MACVLAN, NONE, Attachment, Endpoint, Network, Port
from kist.engine.network.translate import publisher, rules_of

Json = dict[str, Any]
HOST_PLACE, OUTSIDE = "host", "outside"
WIRE = (MACVLAN, IPVLAN)


def describe(networks: Iterable[Network], endpoints: Iterable[Endpoint], host: Sequence[str],
             wanted: Sequence[Network] = ()) -> Json:
    """The map of `wanted` networks (none: of all) and the containers on them; `host`: the host's addresses."""
    by_id = {one.id: one for one in networks}
    shown = list(wanted) or [one for one in by_id.values() if one.driver not in (HOST, NONE, CONFIG)]
    ids = {one.id for one in shown}
    everyone = {one.container_id: one for one in endpoints}
    chosen = [one for one in everyone.values() if not wanted or ids & _on(one, everyone)]
    return {
        "Host": {"Addresses": list(host)},
        "Networks": [_network(one) for one in sorted(shown, key=lambda one: (not one.predefined, one.created))],
        "Containers": [_container(one, by_id) for one in chosen],
        "Reach": list(_ways(chosen, everyone, by_id)),
    }


def _on(endpoint: Endpoint, everyone: Mapping[str, Endpoint]) -> set[str]:
    return {one.network for one in owner(endpoint, everyone).attachments}


def owner(endpoint: Endpoint, everyone: Mapping[str, Endpoint]) -> Endpoint:
    """The container whose network namespace it is (`container:ID`, perhaps over several hops)."""
    for _ in range(len(everyone)):
        other = everyone.get(endpoint.mode.partition(":")[2]) if endpoint.shared else None
        if other is None:
            break
        endpoint = other
    return endpoint


def _network(one: Network) -> Json:
    return {
        "Name": one.name, "Id": one.id, "Driver": one.driver, "Bridge": one.bridge, "Internal": one.internal,
        "Parent": one.option("parent") if one.driver in WIRE else "",
        "Subnets": [{"Subnet": subnet.subnet, "Gateway": subnet.gateway} for subnet in one.subnets],
        "BetweenContainers": _talks(one), "Outward": _outward(one), "MTU": one.mtu,
    }


def _talks(one: Network) -> bool:
    """Whether two containers on it can talk to each other."""
    if one.driver == MACVLAN:
        return one.option("macvlan_mode", "bridge") == "bridge"
    if one.driver == IPVLAN:
        return one.option("ipvlan_flag", "bridge") == "bridge"
    return one.flag("enable_icc", default=True)


def _outward(one: Network) -> str:
    if one.internal:
        return "none"
    if one.driver in WIRE:
        return "wire"
    rules = rules_of(one)
    return "routed" if ROUTED in rules.modes or not rules.masquerade else "masqueraded"


def _container(one: Endpoint, networks: Mapping[str, Network]) -> Json:
    out = publisher(one)
    return {
        "Id": one.container_id, "Name": one.container_name, "Mode": one.mode,
        "Shares": one.mode.partition(":")[2] if one.shared else "",
        "Networks": [{"Name": networks[on.network].name, "Interface": on.interface, "IPv4": on.ip, "IPv6": on.ip6,
                      "MAC": on.mac, "Names": on.names} for on in one.attachments if on.network in networks],
        "Ports": [{"HostIp": port.host_ip, "HostPort": port.host_port, "Port": port.port, "Protocol": port.proto,
                   "Network": networks[out.network].name if out else ""} for port in one.ports],
    }


# -- ways -----------------------------------------------------------------------------------------------------


def _ways(
    chosen: Sequence[Endpoint], everyone: Mapping[str, Endpoint], networks: Mapping[str, Network],
) -> Iterator[Json]:
    owners = {one.container_id: owner(one, everyone) for one in chosen}
    for caller in chosen:
        mine = owners[caller.container_id]
        for called in chosen:
            theirs = owners[called.container_id]
            if called is not caller:
                yield from _named(caller.container_id, called.container_id, _between(mine, theirs, networks))
        yield from _named(caller.container_id, HOST_PLACE, _to_host(mine, networks))
        yield from _named(caller.container_id, OUTSIDE, _to_outside(mine, networks))
    for called in chosen:
        theirs = owners[called.container_id]
        yield from _named(HOST_PLACE, called.container_id, _from_host(theirs, networks))
        yield from _named(OUTSIDE, called.container_id, _from_outside(theirs, networks))


def _named(start: str, end: str, way: Json | None) -> Iterator[Json]:
    if way is not None:
        yield {"From": start, "To": end, **way}


def _direct(network: str = "") -> Json:
    return {"Network": network}


def _ports(ports: Iterable[Port]) -> Json | None:
    found = [f"{port.host_port or port.port}/{port.proto}" for port in ports]
    return {"Ports": list(dict.fromkeys(found))} if found else None


def _between(mine: Endpoint, theirs: Endpoint, networks: Mapping[str, Network]) -> Json | None:
    if mine is theirs:
        return _direct()  # one namespace: each is the other's 127.0.0.1
    if mine.mode == HOST:
        return _from_host(theirs, networks)
    if theirs.mode == HOST:
        return _to_host(mine, networks)
    for attachment in mine.attachments:
        network = networks.get(attachment.network)
        if network and theirs.on(network.id) and _talks(network):
            return _direct(network.name)
    return _by_link(mine, theirs, networks) or _by_host(mine, theirs, networks)


def _by_link(mine: Endpoint, theirs: Endpoint, networks: Mapping[str, Network]) -> Json | None:
    """What the other one exposes, on a network that keeps its containers apart."""
    exposed = mine.links.get(theirs.container_id)
    ways = (_direct(networks[one.network].name) for one in mine.attachments
            if exposed and _bridged(one, networks) and theirs.on(one.network))
    return next(({**way, "Ports": list(exposed or ())} for way in ways), None)


def _by_host(mine: Endpoint, theirs: Endpoint, networks: Mapping[str, Network]) -> Json | None:
    """A published port of the other's, at an address of the host."""
    ways = [one for one in mine.attachments if _bridged(one, networks) and not networks[one.network].internal]
    families = {4: any(one.ip for one in ways), 6: any(one.ip6 for one in ways)}
    return _ports(port for port in _open_ports(theirs, networks)
                  if families[ip_address(port.host_ip or "0.0.0.0").version])


def _open_ports(one: Endpoint, networks: Mapping[str, Network]) -> list[Port]:
    """Its published ports that others than the host can come by."""
    out = publisher(one)
    if out is None or networks[out.network].internal:
        return []
    return [port for port in one.ports if not ip_address(port.host_ip or "0.0.0.0").is_loopback]


def _bridged(one: Attachment, networks: Mapping[str, Network]) -> bool:
    return one.network in networks and networks[one.network].driver == BRIDGE


def _to_host(mine: Endpoint, networks: Mapping[str, Network]) -> Json | None:
    if mine.mode == HOST:
        return _direct()
    return next((_direct(networks[one.network].name) for one in mine.attachments
                 if _bridged(one, networks) and _has_host(one, networks[one.network])), None)


def _has_host(one: Attachment, network: Network) -> bool:
    """Whether the host has an address there, too."""
    return bool((one.ip and network.gateway_mode(4) != ISOLATED) or (one.ip6 and network.gateway_mode(6) != ISOLATED))


def _from_host(theirs: Endpoint, networks: Mapping[str, Network]) -> Json | None:
    return _to_host(theirs, networks)  # the bridge is the host's, too: each reaches the other


def _to_outside(mine: Endpoint, networks: Mapping[str, Network]) -> Json | None:
    if mine.mode == HOST:
        return _direct()
    ways = gateways(mine.attachments)
    return next((_direct(networks[one.network].name) for one in mine.attachments if one.network in networks
                 and (one.gateway in ways or one.gateway6 in ways) and (one.gateway or one.gateway6)), None)


def _from_outside(theirs: Endpoint, networks: Mapping[str, Network]) -> Json | None:
    if theirs.mode == HOST:
        return _direct()
    for one in theirs.attachments:
        network = networks.get(one.network)
        if network and not network.internal and (network.driver in WIRE or UNPROTECTED in rules_of(network).modes):
            return _direct(network.name)
    return _ports(_open_ports(theirs, networks))
