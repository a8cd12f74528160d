"""NetworkSettings and ports of a container. Pure.

`record.endpoint` is what engine/network tells about the container's address while it runs:
``{"network_id", "name", "ip", "prefixlen", "gateway", "mac", "ports"?, …}``.
"""

from __future__ import annotations

from typing import Any

from kist.engine.records import ContainerRecord
from kist.engine.spec.namespaces import joined

Json = dict[str, Any]


def endpoint_settings(record: ContainerRecord, endpoint: Json | None) -> Json:
    """One entry of NetworkSettings.Networks; empty addresses while the container does not run."""
    asked: Json = next(iter(record.networks.values()), None) or {}
    found = endpoint or {}
    return {
        "IPAMConfig": asked.get("IPAMConfig"),
        "Links": None,
        "Aliases": asked.get("Aliases"),
        "MacAddress": found.get("mac") or "",
        "DriverOpts": asked.get("DriverOpts"),
        "GwPriority": 0,
        "NetworkID": found.get("network_id") or "",
        "EndpointID": record.id if found.get("ip") else "",
        "Gateway": found.get("gateway") or "",
        "IPAddress": found.get("ip") or "",
        "IPPrefixLen": found.get("prefixlen") or 0,
        "IPv6Gateway": found.get("gateway6") or "",
        "GlobalIPv6Address": found.get("ip6") or "",
        "GlobalIPv6PrefixLen": found.get("prefixlen6") or 0,
        "DNSNames": None,
    }


def networks(record: ContainerRecord) -> Json:
    mode = record.host["NetworkMode"]
    if joined(mode) is not None:
        return {}
    name = (record.endpoint or {}).get("name") or mode
    return {name: endpoint_settings(record, record.endpoint)}


def network_settings(record: ContainerRecord) -> Json:
    found = networks(record)
    first: Json = next(iter(found.values()), {})
    on_default = record.host["NetworkMode"] == "bridge"
    old = {key: first.get(key, 0 if key.endswith("Len") else "") if on_default else
           (0 if key.endswith("Len") else "")
           for key in ("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress",
                       "IPPrefixLen", "IPv6Gateway", "MacAddress")}
    return {
        "Bridge": "",
        "SandboxID": record.id if record.endpoint else "",
        "SandboxKey": f"/proc/{record.pid}/ns/net" if record.pid else "",
        "Ports": port_map(record),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **old,
        "Networks": found,
    }


def port_map(record: ContainerRecord) -> Json:
    """`{"80/tcp": [{"HostIp", "HostPort"}] | None}` of a running container."""
    if record.endpoint is None:
        return {}
    published: Json = record.endpoint.get("ports") or {}
    exposed = {_with_protocol(port): None for port in record.config.get("ExposedPorts") or {}}
    return {**exposed, **published}


def port_list(record: ContainerRecord) -> list[Json]:
    """The column PORTS of `docker ps`."""
    found: list[Json] = []
    for port, bindings in port_map(record).items():
        number, _, protocol = port.partition("/")
        if not number.isdecimal():
            continue
        plain: Json = {"PrivatePort": int(number), "Type": protocol or "tcp"}
        if not bindings:
            found.append(plain)
        for binding in bindings or ():
            found.append({"IP": binding["HostIp"], "PublicPort": int(binding["HostPort"]), **plain})
    return found


def _with_protocol(port: str) -> str:
    return port if "/" in port else f"{port}/tcp"
