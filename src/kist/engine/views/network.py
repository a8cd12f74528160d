"""NetworkSettings and ports of a container. Pure.

`record.endpoint` is the record of its `Endpoint` while it runs.
"""

from __future__ import annotations

from typing import Any

from kist.engine.network.model import Attachment, Endpoint
from kist.engine.records import ContainerRecord
from kist.engine.spec.namespaces import joined

Json = dict[str, Any]


def networks(record: ContainerRecord) -> Json:
    """NetworkSettings.Networks; addresses are empty while the container does not run."""
    if record.endpoint is not None:
        found: Json = Endpoint.from_record(record.endpoint).settings()["Networks"]
        return found
    mode = record.host["NetworkMode"]
    if joined(mode) is not None:
        return {}
    names = list(record.networks) or ([] if record.unplugged else [mode])
    return {name: _asked_for(name, record.networks.get(name) or {}) for name in names}


def _asked_for(name: str, asked: Json) -> Json:
    return Attachment(network="", network_name=name, endpoint_id="", asked=asked,
                      aliases=asked.get("Aliases") or [], gateway_priority=asked.get("GwPriority") or 0).settings()


def network_settings(record: ContainerRecord) -> Json:
    if record.endpoint is not None:
        found = Endpoint.from_record(record.endpoint).settings()
        found["SandboxKey"] = f"/proc/{record.pid}/ns/net" if record.pid else ""
        return found
    found = Endpoint(container_id=record.id, mode=record.host["NetworkMode"]).settings()
    return {**found, "SandboxID": "", "Ports": {}, "Networks": networks(record)}


def port_map(record: ContainerRecord) -> Json:
    """`{"80/tcp": [{"HostIp", "HostPort"}] | None}` of a running container, else what is exposed."""
    if record.endpoint is not None:
        found: Json = Endpoint.from_record(record.endpoint).port_map()
        return found
    return {}


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
            if not binding["HostPort"]:  # routed: at the container's own address
                found.append(plain)
                continue
            found.append({"IP": binding["HostIp"], "PublicPort": int(binding["HostPort"]), **plain})
    return found
