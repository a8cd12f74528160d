"""`network create --subnet … --ip-range … --gateway … --aux-address …` → IPAM.Config. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ipaddress import IPv4Network, IPv6Network
    from typing import Any

    JSON = dict[str, Any]


def pools(subnets: Sequence[str], ranges: Sequence[str], gateways: Sequence[str],
          others: Mapping[str, str]) -> list[JSON]:
    """The range, the gateway and the addresses of a pool are those that lie in its subnet."""
    if len(ranges) > len(subnets) or len(gateways) > len(subnets):
        raise CliError("every ip-range or gateway must have a corresponding subnet")
    nets = {subnet: _net(subnet) for subnet in subnets} if len(subnets) > 1 or ranges or gateways or others else {}
    if len(set(subnets)) < len(subnets) or _overlap(list(nets.values())):
        raise CliError("multiple overlapping subnet configuration is not supported")
    found: dict[str, JSON] = {subnet: {"Subnet": subnet} for subnet in subnets}
    for text in ranges:
        _set(found[_subnet(nets, str(_net(text).network_address), f"range {text}")], "IPRange", text,
             "ranges", "on the same")
    for text in gateways:
        _set(found[_subnet(nets, text, f"gateway {text}")], "Gateway", text, "gateways", "for the same")
    for name, text in others.items():
        found[_subnet(nets, text, f"aux-address {text}")].setdefault("AuxiliaryAddresses", {})[name] = text
    return list(found.values())


def _net(text: str) -> IPv4Network | IPv6Network:
    try:
        if "/" in text:
            return ip_network(text, strict=False)
    except ValueError:
        pass
    raise CliError(f"invalid CIDR address: {text}")


def _overlap(nets: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(one.version == other.version and one.overlaps(other)
               for number, one in enumerate(nets) for other in nets[:number])


def _subnet(nets: Mapping[str, IPv4Network | IPv6Network], address: str, what: str) -> str:
    try:
        return next(subnet for subnet, net in nets.items() if ip_address(address) in net)
    except (ValueError, StopIteration):
        raise CliError(f"no matching subnet for {what}") from None


def _set(pool: JSON, field: str, text: str, what: str, where: str) -> None:
    if field in pool:
        raise CliError(f"cannot configure multiple {what} ({text}, {pool[field]}) {where} subnet ({pool['Subnet']})")
    pool[field] = text
