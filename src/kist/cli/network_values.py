"""`--network` and what belongs to it → HostConfig.NetworkMode and NetworkingConfig.EndpointsConfig."""

from __future__ import annotations

import re

from kist.cli.container_body import BadValue
from kist.cli.container_values import csv_fields, is_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments

    Body = dict[str, Any]

# Networks that have no settings of their own for a container.
BUILT_IN = ("host", "none", "default")
# option → part of the endpoint, field, what Docker calls it in the long form
OPTIONS = {
    "network-alias": ("", "Aliases", "alias"), "mac-address": ("", "MacAddress", "MAC address"),
    "ip": ("IPAMConfig", "IPv4Address", "IPv4 address"), "ip6": ("IPAMConfig", "IPv6Address", "IPv6 address"),
    "link-local-ip": ("IPAMConfig", "LinkLocalIPs", "link-local IP addresses"),
}
# key of the long form (name=…,alias=…) → the same
KEYS = {"alias": "network-alias", "ip": "ip", "ip6": "ip6", "mac-address": "mac-address",
        "link-local-ip": "link-local-ip"}


_UNUSED = ("mac-address", "link-local-ip")  # by a container that shares another one's network; Docker drops them


def networks(args: Arguments) -> tuple[str, Body]:
    """(network mode, endpoints): the options without a network of their own belong to the first one."""
    named = [_network(value) for value in args.list("network")]
    mode = named[0][0] if named else ""
    if len(named) > 1 and any(_is_mode(name) for name, _ in named):
        raise ValueError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    for position, (name, _) in enumerate(named):
        if name in [other for other, _ in named[:position]]:
            raise ValueError(f'network "{name}" is specified multiple times')
    endpoints = dict(named) if named else {"default": {}}
    if len(endpoints) < len(named):
        names = [name for name, _ in named]
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise ValueError(f'network "{twice}" is specified multiple times')
    first = endpoints[mode or "default"]
    for option, (where, field, called) in OPTIONS.items():
        if not args.given(option):
            continue
        if mode.startswith("container:") and option in _UNUSED:
            raise ValueError(f"conflicting options: --{option} can't be used with the network mode {mode}")
        part = first.setdefault(where, {}) if where else first
        if option == "mac-address":
            _check_mac(args.text(option))
        if field in part:
            raise ValueError(f"conflicting options: cannot specify both --{option} and per-network {called}")
        part[field] = args.values[option]
    if "Aliases" in first and (_is_mode(mode) or mode in ("", "bridge")):
        raise ValueError("network-scoped aliases are only supported for user-defined networks")
    if args.given("link") and mode and not _is_mode(mode) and mode != "bridge":
        first["Links"] = args.list("link")  # beside HostConfig.Links, as Docker's client sends them
    if len(endpoints) == 1 and not first:
        return mode, {}
    return mode, endpoints


def _check_mac(text: str) -> None:
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or any(len(part) != 2 or set(part.lower()) - set("0123456789abcdef") for part in parts):
        raise ValueError(f"{text} is not a valid mac address")


def _is_mode(name: str) -> bool:
    return name in BUILT_IN or name.startswith("container:")


def _network(value: str) -> tuple[str, Body]:
    """`name`, or `name=…,alias=…,ip=…,driver-opt=key=value,gw-priority=n`."""
    if not value:
        raise ValueError("no name set for network")
    if "=" not in value:
        return value, {}
    name, endpoint = "", {}  # type: str, Body
    for field in csv_fields(value):
        key, _, text = field.partition("=")
        key, text = key.strip().lower(), text.strip()
        if key == "name":
            name = text
        elif key == "driver-opt":
            option, mark, content = text.partition("=")
            if not mark:
                raise BadValue(value, "invalid key value pair format in driver options")
            endpoint.setdefault("DriverOpts", {})[option.strip().lower()] = content.strip()
        elif key == "gw-priority":
            if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
                raise BadValue(value, f"invalid gw-priority ({text}): invalid syntax")
            endpoint["GwPriority"] = int(text)
        elif key in KEYS:
            _set(endpoint, KEYS[key], text, value)
        else:
            raise BadValue(value, f"invalid field key {key}")
    if not name:
        raise BadValue(value, "network name/id is not specified")
    return name, endpoint


def _set(endpoint: Body, option: str, text: str, value: str) -> None:
    where, field, _ = OPTIONS[option]
    if option == "mac-address":
        _check_mac(text)
    if where and not is_address(text):
        raise BadValue(value, f"invalid IP address: {text}")
    part = endpoint.setdefault(where, {}) if where else endpoint
    if field in ("Aliases", "LinkLocalIPs"):
        part.setdefault(field, []).append(text)
    else:
        part[field] = text
