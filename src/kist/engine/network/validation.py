"""What is wrong with the request for a network, told in Docker's words where it has some. Pure.

Options are the driver's (`docker network create -o KEY=VALUE`). Those named `com.docker.network.…` that Kist doesn't
know are refused: a protection or an address that somebody relies on must not be ignored in silence. Others are kept,
as Docker keeps them, and mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from kist.api import rates
from kist.engine.network.firewall import ISOLATED, MODES
from kist.engine.network.model import BRIDGE, IPVLAN, MACVLAN, TRUTH, Network
from kist.errors import Forbidden, InvalidParameter
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
    if not set(name) <= NAME_CHARACTERS or not (name[0].isalnum() or name[0] == "_"):
        raise InvalidParameter(f"invalid network name: {name!r}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


# -- subnets ----------------------------------------------------------------------------------------------------


def check_ipam(configs: Iterable[Json], driver: str) -> None:
    """Raises InvalidParameter with all that is wrong (moby: api/types/network, ValidateIPAM)."""
    problems: list[str] = []
    versions: list[int] = []
    for config in configs:
        try:
            subnet = ip_network(str(config.get("Subnet")), strict=False)
        except ValueError:
            subnet = None
        if subnet is None or "/" not in str(config["Subnet"]):
            problems.append(f"invalid subnet {config.get('Subnet') or ''}: invalid CIDR block notation")
        else:
            versions.append(subnet.version)
            problems += _problems(subnet, config)
    if problems:
        mark = "* " * (len(problems) > 1)
        raise InvalidParameter("invalid network config:\n" + "\n".join(mark + one for one in problems))
    if driver == BRIDGE and len(versions) > len(set(versions)):
        raise Forbidden("bridge driver doesn't support multiple subnets")


def _problems(subnet: IPv4Network | IPv6Network, config: Json) -> list[str]:
    found = [] if str(config["Subnet"]) in _spellings(subnet) else [
        f"invalid subnet {config['Subnet']}: it should be {subnet}"]
    if asked := str(config.get("IPRange") or ""):
        found += [f"invalid ip-range {asked}: {why}" for why in _range_problems(subnet, asked)]
    if asked := str(config.get("Gateway") or ""):
        found += [f"invalid gateway {asked}: {why}" for why in _address_problems(subnet, asked)]
    for name, address in (config.get("AuxiliaryAddresses") or {}).items():
        found += [f"invalid auxiliary address {name}: {why}" for why in _address_problems(subnet, str(address))]
    return found


def _spellings(subnet: IPv4Network | IPv6Network) -> tuple[str, ...]:
    return str(subnet), f"{subnet.network_address.exploded}/{subnet.prefixlen}", f"{subnet.with_netmask}"


def _range_problems(subnet: IPv4Network | IPv6Network, text: str) -> list[str]:
    try:
        part = ip_network(text, strict=False)
    except ValueError:
        return ["invalid CIDR block notation"]
    if part.version != subnet.version:
        return [f"parent subnet is an IPv{subnet.version} block"]
    found = [] if text in _spellings(part) else [f"it should be {part}"]
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
    _check_mtu(network.option("mtu"))
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


def _check_mtu(text: str) -> None:
    if text.lstrip("+-").isdecimal():
        if int(text) < 0:
            raise InvalidParameter(f"invalid MTU number: {text}")
    elif text:
        raise InvalidParameter(f'failed to parse {DOCKERS}driver.mtu value: {text} (strconv.Atoi: parsing "{text}": '
                               "invalid syntax)")


def _check_address(network: Network, name: str, version: int) -> None:
    """An option whose value is an address."""
    value = network.option(name.rpartition(".")[2])
    try:
        right = not value or ip_address(value).version == version
    except ValueError:
        right = False
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
