"""What a create request asks for, checked before anything is made, in Docker's words (moby: verifyContainerSettings).

Limits are `engine/limits.py`'s, mounts `engine/mountpoints.py`'s; here is what else a start would stumble over.
Pure.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from kist.engine import health
from kist.errors import InvalidParameter

Json = dict[str, Any]
_MILLISECOND = 1_000_000  # nanoseconds
_DURATIONS = ("Interval", "Timeout", "StartPeriod", "StartInterval")


def check(config: Json, host: Json, networks: Json) -> None:
    """`networks`: EndpointSettings by network name."""
    _check_health(config.get("Healthcheck") or {})
    check_on_failure(config, host["HealthOnFailure"])
    _check_names(host)
    _check_cgroup_parent(host["CgroupParent"])
    for asked in networks.values():
        _check_link_local(asked)
    if "" in (host["Annotations"] or {}):
        raise InvalidParameter("invalid Annotations: the empty string is not permitted as an annotation key")


def _check_health(health: Json) -> None:
    for field in _DURATIONS:
        if health.get(field) and health[field] < _MILLISECOND:
            raise InvalidParameter(f"{field} in Healthcheck cannot be less than 1ms")
    if health.get("Retries") and health["Retries"] < 0:
        raise InvalidParameter("Retries in Healthcheck cannot be negative")


def check_on_failure(config: Json, action: str) -> None:
    """`--health-on-failure`, in Podman's words."""
    if action not in ("", "none", "restart", "stop", "kill"):
        raise InvalidParameter(f'invalid on-failure action "{action}" for health check: supported actions are '
                               "none,kill,restart,stop")
    if action not in ("", "none") and health.command(config) is None:
        raise InvalidParameter(f"cannot set on-failure action to {action} without a health check")


def _check_names(host: Json) -> None:
    """What becomes lines of resolv.conf and hosts: a line end in it would be another line."""
    for server in host["Dns"]:
        if not _is_address(server.partition("%")[0]):
            raise InvalidParameter(f"bad nameserver address {server}: unable to parse IP")
    for field in ("DnsSearch", "DnsOptions"):
        for word in host[field]:
            if not word.isprintable():
                raise InvalidParameter(f"invalid value for {field}: {word!r}")
    for entry in host["ExtraHosts"] or ():
        _check_extra_host(entry)


def _check_extra_host(entry: str) -> None:
    """`name:address`, or `name=address`; the address may be the word host-gateway."""
    cut = min((at for at in (entry.find("="), entry.find(":")) if at >= 0), default=-1)
    name, address = entry[:cut], entry[cut + 1:]
    if cut < 1 or not name.isprintable() or " " in name:
        raise InvalidParameter(f'bad format for add-host: "{entry}"')
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != "host-gateway" and not _is_address(address):
        raise InvalidParameter(f'invalid IP address in add-host: "{address}"')


def _check_cgroup_parent(path: str) -> None:
    """A path below the hierarchy's root (`..` at the root is the root), or a slice of systemd's (`a-b.slice`)."""
    if not path.isprintable():
        raise InvalidParameter(f"invalid cgroup parent: '{path}' is not a plain path")


def _check_link_local(asked: Json) -> None:
    """What isn't an address at all is told with the network's other settings (network/addressing.py)."""
    for address in (asked.get("IPAMConfig") or {}).get("LinkLocalIPs") or ():
        if _is_address(address) and not ip_address(address).is_link_local:
            raise InvalidParameter(f"invalid link local IP address: {address}")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


_CONFLICTS = (
    ("Hostname", "hostname and the network mode"),
    ("Dns", "dns and the network mode"),
    ("ExtraHosts", "custom host-to-IP mapping and the network mode"),
    ("PortBindings", "port publishing and the container type network mode"),
    ("PublishAllPorts", "port publishing and the container type network mode"),
    ("ExposedPorts", "port exposing and the container type network mode"),
)


def check_modes(asked: Json) -> None:
    """What a shared namespace leaves no room for; `asked` is the request's body (moby: validateNetMode)."""
    host = asked.get("HostConfig") or {}
    mode = host.get("NetworkMode") or ""
    if host.get("UTSMode") == "host" and asked.get("Hostname"):
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    if host.get("UTSMode") == "host" and asked.get("Domainname"):  # Docker's runtime says so at the start
        raise InvalidParameter("conflicting options: domainname and the UTS mode")
    if mode == "container:":
        raise InvalidParameter("Invalid network mode: invalid container format container:<name|id>")
    if mode.startswith("container:"):
        for field, words in _CONFLICTS:
            if asked.get(field) or host.get(field):
                raise InvalidParameter(f"conflicting options: {words}")
