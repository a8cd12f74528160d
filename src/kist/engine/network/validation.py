"""What is wrong with the request for a network, told in Docker's words where it has some. Pure.

Options are the driver's (`docker network create -o KEY=VALUE`). Those named `com.docker.network.…` that Kist doesn't
know are refused: a protection or an address that somebody relies on must not be ignored in silence. Others are kept,
as Docker keeps them, and mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from kist.api import rates
from kist.engine.network.firewall import ISOLATED, MODES
from kist.engine.network.model import BRIDGE, IPVLAN, MACVLAN, TRUTH, Network
from kist.errors import Forbidden, InvalidParameter, NotFound
from kist.linux.netlink import request

Json = dict[str, Any]
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
DOCKERS = "com.docker.network."
_FLAGS = ("bridge.enable_icc", "bridge.enable_ip_masquerade", "bridge.inhibit_ipv4", "bridge.default_bridge",
          "enable_ipv4", "enable_ipv6")
KNOWN = frozenset(f"{DOCKERS}{name}" for name in (
    *_FLAGS, "bridge.name", "bridge.gateway_mode_ipv4", "bridge.gateway_mode_ipv6", "bridge.host_binding_ipv4",
    "host_ipv4", "host_ipv6", "container_iface_prefix", "driver.mtu"))
ENDPOINT = frozenset(f"{DOCKERS}endpoint.{name}" for name in ("ifname", "sysctls"))
_MODES = (  # driver, option, what there is, the default
    (MACVLAN, "macvlan_mode", request.MACVLAN_MODES, "'bridge' mode"),
    (IPVLAN, "ipvlan_mode", request.IPVLAN_MODES, "'l2' mode"),
    (IPVLAN, "ipvlan_flag", request.IPVLAN_FLAGS, "'bridge'"),
)


def check_name(name: str) -> None:
    if not name.strip():
        raise InvalidParameter("invalid name: name is empty")
    # Docker takes everything else. What moves a terminal's cursor, turns the direction of writing or can't be seen
    # would make a list of networks say what isn't so.
    if not name.isprintable():
        raise InvalidParameter(f"invalid network name: {name!r}: it has characters that can't be printed")


def check_swarm(body: Json) -> None:
    """What only nodes of a swarm have."""
    if body.get("Driver") == "overlay":
        raise Forbidden('This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
                        "this node to swarm and try again.")
    if body.get("Ingress") and not body.get("ConfigOnly"):
        raise Forbidden("Ingress network can only be global scope network")
    if body.get("Scope") == "swarm" and not body.get("ConfigOnly"):
        raise Forbidden("cannot create a swarm scoped network when swarm is not active")


# -- configuration networks -------------------------------------------------------------------------------------


def check_config_only(body: Json, source: str) -> None:
    if any(body.get(key) for key in ("Ingress", "Internal", "Attachable", "Scope")):
        raise Forbidden("configuration network can only contain network specific fields. Network operator fields like "
                        "[ ingress | internal | attachable | scope ] are not supported.")
    if source:
        raise Forbidden("a configuration network cannot depend on another configuration network")


def check_config_from(body: Json) -> None:
    """A network that is made of a configuration network's settings has none of its own."""
    ipam = body.get("IPAM") or {}
    if (ipam.get("Driver") not in (None, "", "default") or ipam.get("Options") or ipam.get("Config")
            or body.get("EnableIPv6") or body.get("EnableIPv4") is False or body.get("Labels")):
        raise Forbidden("user specified configurations are not supported if the network depends on a configuration "
                        "network")
    if body.get("Options"):
        raise Forbidden("network driver options are not supported if the network depends on a configuration network")


# -- subnets ----------------------------------------------------------------------------------------------------


def check_ipam_driver(name: str, configs: Iterable[Json], *, ipv6: bool) -> None:
    """Docker's `null` driver hands out no addresses. No driver of networks that a user may make takes it."""
    if name == "null":
        if any(config.get("Subnet") for config in configs):
            raise InvalidParameter("null ipam driver does not handle specific address pool requests")
        raise InvalidParameter("null ipam driver does not handle IPv6 address pool requests" if ipv6 else
                               "ipv4 pool is empty")
    if name not in ("", "default"):
        raise NotFound(f'plugin "{name}" not found')


def check_subnets(configs: Iterable[Json]) -> None:
    """Raises InvalidParameter with all that is wrong (moby: api/types/network, ValidateIPAM)."""
    problems: list[str] = []
    for config in configs:
        subnet = _cidr(str(config.get("Subnet")))
        if subnet is None:
            problems.append(f"invalid subnet {config.get('Subnet') or ''}: invalid CIDR block notation")
        else:
            problems += _problems(subnet, config)
    if problems:
        mark = "* " * (len(problems) > 1)
        raise InvalidParameter("invalid network config:\n" + "\n".join(mark + one for one in problems))


def check_one_subnet(configs: Iterable[Json], driver: str) -> None:
    """A bridge has one subnet of each family."""
    versions = [6 if ":" in str(config["Subnet"]) else 4 for config in configs]
    if driver == BRIDGE and len(versions) > len(set(versions)):
        raise Forbidden("bridge driver doesn't support multiple subnets")


def _problems(subnet: IPv4Network | IPv6Network, config: Json) -> list[str]:
    found = [] if _is_masked(str(config["Subnet"]), subnet) else [
        f"invalid subnet {config['Subnet']}: it should be {subnet}"]
    if asked := str(config.get("IPRange") or ""):
        found += [f"invalid ip-range {asked}: {why}" for why in _range_problems(subnet, asked)]
    if asked := str(config.get("Gateway") or ""):
        found += [f"invalid gateway {asked}: {why}" for why in _address_problems(subnet, asked)]
    for name, address in (config.get("AuxiliaryAddresses") or {}).items():
        found += [f"invalid auxiliary address {name}: {why}" for why in _address_problems(subnet, str(address))]
    return found


def _cidr(text: str) -> IPv4Network | IPv6Network | None:
    """`10.0.1.0/24`; as Go's netip.ParsePrefix, which takes no netmask and no needless zero."""
    length = text.rpartition("/")[2]
    if not (length.isascii() and length.isdecimal()) or (length[0] == "0" and length != "0") or "/" not in text:
        return None
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = isinstance(found, IPv6Network) and found.network_address.ipv4_mapped is not None  # an IPv4 one in disguise
    return None if mapped else found


def _is_masked(text: str, subnet: IPv4Network | IPv6Network) -> bool:
    """Whether the address is the subnet's first one, however it is written."""
    return ip_address(text.rpartition("/")[0]) == subnet.network_address


def _range_problems(subnet: IPv4Network | IPv6Network, text: str) -> list[str]:
    part = _cidr(text)
    if part is None:
        return ["invalid CIDR block notation"]
    if part.version != subnet.version:
        return [f"parent subnet is an IPv{subnet.version} block"]
    found = [] if _is_masked(text, part) else [f"it should be {part}"]
    if part.prefixlen < subnet.prefixlen:
        found.append(f"CIDR block is bigger than its parent subnet {subnet}")
    elif part.network_address not in subnet:
        found.append(f"parent subnet {subnet} doesn't contain ip-range")
    return found


def _address_problems(subnet: IPv4Network | IPv6Network, text: str) -> list[str]:
    try:
        address = ip_address(text)
    except ValueError:
        return ["invalid address"]
    if address.version != subnet.version:
        return [f"parent subnet is an IPv{subnet.version} block"]
    return [] if address in subnet else [f"parent subnet {subnet} doesn't contain this address"]


# -- options ----------------------------------------------------------------------------------------------------


def families(options: Mapping[str, str], *, ipv4: bool, ipv6: bool) -> tuple[bool, bool]:
    """Whether it has IPv4 and IPv6; options may say so as well (compose files for older versions do)."""
    found = [ipv4, ipv6]
    for place, name in enumerate(("enable_ipv4", "enable_ipv6")):
        value = options.get(DOCKERS + name)
        if value is not None and value.lower() not in TRUTH:
            raise InvalidParameter(f'driver-opt "{DOCKERS}{name}" is not a valid bool')
        found[place] = found[place] if value is None else TRUTH[value.lower()]
    return found[0], found[1]


def check(network: Network) -> None:
    """Raises InvalidParameter for what its options can't mean."""
    _check_known(network)
    _check_bridge_name(network.bridge)
    _check_mtu(network.asked("mtu"))
    if parse_rate(network.option("kist.rate")) and network.driver != BRIDGE:
        raise InvalidParameter(f"a rate of the whole network needs the bridge driver, this is {network.driver}: limit "
                               "its containers instead (kist run --network-rate)")
    for version in (4, 6):
        mode = network.gateway_mode(version)
        if mode not in MODES:
            raise InvalidParameter(f"unknown gateway mode {mode}")
        if mode == ISOLATED and not network.internal:
            raise InvalidParameter("gateway mode 'isolated' can only be used for an internal network")
        _check_address(network, f"host_ipv{version}", version)
    _check_address(network, "bridge.host_binding_ipv4", 4)
    if not network.ipv4 and not network.ipv6:
        raise InvalidParameter("IPv4 or IPv6 must be enabled")
    for driver, option, known, default in _MODES:
        value = network.option(option)
        if network.driver == driver and value and value not in known:
            what = option.replace("_", " ")
            raise InvalidParameter(f"requested {what} '{value}' is not valid, {default} is the {driver} driver default")
    if network.driver in (MACVLAN, IPVLAN) and network.option("parent") == "lo":
        raise InvalidParameter(f"loopback interface is not a valid {network.driver} parent link")


def _check_known(network: Network) -> None:
    for key, value in network.options.items():
        if key.startswith(DOCKERS) and key not in KNOWN:
            raise InvalidParameter(f"unsupported option {key} of a network")
        if key in _FLAG_KEYS and value.lower() not in TRUTH:
            raise InvalidParameter(f'failed to parse {key} value: {value} (strconv.ParseBool: parsing "{value}": '
                                   "invalid syntax)")


_FLAG_KEYS = frozenset((*(f"{DOCKERS}{name}" for name in _FLAGS), "kist.spoof_protection"))


def _check_bridge_name(name: str) -> None:
    if len(name) > 15 or not set(name) <= NAME_CHARACTERS or name in (".", ".."):
        raise InvalidParameter(f"invalid bridge name {name!r}: at most 15 letters, digits, . _ -")


def _check_mtu(text: str | None) -> None:
    if text is None:
        return
    number = re.fullmatch(r"[+-]?[0-9]+", text)
    if not number or len(text) > 19:
        why = "value out of range" if number else "invalid syntax"
        raise InvalidParameter(f'failed to parse {DOCKERS}driver.mtu value: {text} (strconv.Atoi: parsing "{text}": '
                               f"{why})")
    if not 0 <= int(text) < 2**31:
        raise InvalidParameter(f"invalid MTU number: {text}")


def _check_address(network: Network, name: str, version: int) -> None:
    """An option whose value is an address."""
    value = network.asked(name.rpartition(".")[2])
    try:
        right = value is None or ip_address(value).version == version
    except ValueError:
        raise InvalidParameter(f"failed to parse {DOCKERS}{name} value: {value} (nil ip)") from None
    if not right:
        raise InvalidParameter(f"failed to parse {DOCKERS}{name} value: {value} (no IPv{version} address)")


def parse_rate(text: str) -> int:
    """`10mbit` as bits per second; "" is 0, no limit."""
    if not text:
        return 0
    try:
        found = rates.bits(text)
    except ValueError as error:
        raise InvalidParameter(str(error)) from None
    if not found:
        raise InvalidParameter(f"invalid rate {text!r}: it is no limit")
    return found
