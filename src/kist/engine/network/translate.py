"""Networks and endpoints in the words of those who are told about them: the packet filter and the resolver. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kist.engine.network.addressing import way_out
from kist.engine.network.firewall import Bridge, Link, Published
from kist.engine.network.model import Attachment, Endpoint, Network
from kist.engine.network.ports import EVERYWHERE, parse_port

Json = dict[str, Any]


def rules_of(network: Network) -> Bridge:
    """What the packet filter must know of a bridge network."""
    return Bridge(
        network.bridge, tuple(subnet.subnet for subnet in network.subnets), internal=network.internal,
        masquerade=not network.internal and network.flag("enable_ip_masquerade", default=True),
        modes=(network.gateway_mode(4), network.gateway_mode(6)), icc=network.icc, whole=network.found is None,
        sources=tuple(filter(None, (network.option("host_ipv4"), network.option("host_ipv6")))),
    )


def links(endpoints: Mapping[str, Endpoint], networks: Mapping[str, Network]) -> set[Link]:
    """What linked containers may reach of each other on networks that keep theirs apart."""
    found = set()
    for one in endpoints.values():
        for other_id, exposed in one.links.items():
            other = endpoints.get(other_id)
            for here in one.attachments if other else ():
                there = other.on(here.network) if other else None
                network = networks.get(here.network)
                if there and network and not network.icc:
                    found |= {Link(source, target, proto, port) for port, proto in map(parse_port, exposed)
                              for source, target in ((here.ip, there.ip), (here.ip6, there.ip6)) if source and target}
    return found


def place(attachment: Attachment) -> Json:
    """The resolver's words for a container's place on a network."""
    links = (link.partition(":") for link in attachment.asked.get("Links") or ())
    return {
        "network": attachment.network, "network_name": attachment.network_name, "names": attachment.names,
        "ip": attachment.ip, "ip6": attachment.ip6,
        "links": {alias or target: target for target, _, alias in links},
    }


def publisher(endpoint: Endpoint) -> Attachment | None:
    """Where published ports lead: the way out, among the bridge networks. Containers on macvlan and ipvlan only
    are on the wire themselves; `-p` means nothing for them, as with Docker."""
    return way_out([one for one in endpoint.attachments if one.host_interface])


def published(endpoint: Endpoint) -> set[Published]:
    """The packet filter's words for the endpoint's ports."""
    out = publisher(endpoint)
    if out is None:
        return set()
    return {
        Published(port.proto, "" if port.host_ip in EVERYWHERE.values() else port.host_ip, port.host_port,
                  out.ip6 if ":" in port.host_ip else out.ip, port.port)
        for port in endpoint.ports if (out.ip6 if ":" in port.host_ip else out.ip)
    }
