"""Networks in the API's words (NetworkInspect, the filters of NetworkList). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kist.engine.network.model import NONE, Attachment, Network, Subnet
from kist.engine.selection import search
from kist.engine.times import rfc3339
from kist.errors import InvalidParameter

Json = dict[str, Any]


def network(one: Network, members: Iterable[tuple[str, str, Attachment]]) -> Json:
    """The API's Network; `members` are (container id, container name, attachment)."""
    return {
        "Name": one.name, "Id": one.id, "Created": rfc3339(one.created), "Scope": one.scope, "Driver": driver_of(one),
        "EnableIPv4": one.ipv4, "EnableIPv6": one.ipv6,
        "IPAM": {"Driver": one.ipam_driver, "Options": one.ipam_options,
                 "Config": [_subnet(subnet) for subnet in one.subnets] or (None if one.config_only else [])},
        "Internal": one.internal, "Attachable": one.attachable, "Ingress": False,
        "ConfigFrom": {"Network": one.config_from}, "ConfigOnly": one.config_only,
        "Containers": {container_id: _member(name, attachment) for container_id, name, attachment in members},
        "Options": one.options, "Labels": one.labels,
    }


def driver_of(one: Network) -> str:
    """As the API calls it."""
    return NONE if one.config_only else one.driver


def _subnet(subnet: Subnet) -> Json:
    found: Json = {"Subnet": subnet.subnet}
    if subnet.ip_range:
        found["IPRange"] = subnet.ip_range
    if subnet.gateway:
        found["Gateway"] = subnet.gateway
    if subnet.reserved:
        found["AuxiliaryAddresses"] = subnet.reserved
    return found


def _member(name: str, attachment: Attachment) -> Json:
    return {
        "Name": name, "EndpointID": attachment.endpoint_id, "MacAddress": attachment.mac,
        "IPv4Address": f"{attachment.ip}/{attachment.prefixlen}" if attachment.ip else "",
        "IPv6Address": f"{attachment.ip6}/{attachment.prefixlen6}" if attachment.ip6 else "",
    }


FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type", "until", "label!")


def matches(one: Network, filters: Mapping[str, Iterable[str]], *, in_use: bool) -> bool:
    """Whether the network passes the API's filters: any value of a filter, all filters, all labels."""
    for name, values in filters.items():
        wanted = list(values)
        if name not in FILTERS:
            raise InvalidParameter(f"invalid filter '{name}'")
        if wanted and not _passes(one, name, wanted, in_use=in_use):
            return False
    return True


def _passes(one: Network, name: str, wanted: list[str], *, in_use: bool) -> bool:
    if name == "dangling":
        return _truth(wanted) == (not in_use and not one.predefined)
    if name == "type":
        for value in wanted:
            if value not in ("builtin", "custom"):
                raise InvalidParameter(f"invalid filter: 'type'='{value}'")
        return ("builtin" if one.predefined else "custom") in wanted
    if name in ("label", "label!"):
        has = all(_has_label(one, label) for label in wanted)
        return has if name == "label" else not has
    if name == "until":
        return True  # answered by prune, which knows the time
    value = {"driver": driver_of(one), "id": one.id, "name": one.name, "scope": one.scope}[name]
    partly = name in ("id", "name")
    return any(search(word, value) if partly else word == value for word in wanted)


def _truth(values: list[str]) -> bool:
    if len(values) > 1:
        raise InvalidParameter('got more than one value for filter key "dangling"')
    if values[0] not in ("1", "true", "0", "false"):
        raise InvalidParameter("invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" "
                               '(or "0")')
    return values[0] in ("1", "true")


def _has_label(one: Network, label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in one.labels and (not equals or one.labels[key] == value)
