"""Addresses: which subnet a network gets, which address a container gets. Pure.

Subnets come from pools that are cut into equal parts (`10.89.0.0/16` into /24). A subnet is free when no
other network and no route of the host touches it: a container network must never hide a place that the host
can reach. Addresses are handed out in turn, so that one that was just given back rests as long as possible
(neighbours may still have its old MAC address, and its old namespace may still be dying).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice

from kist.errors import Conflict, EngineFailure, Forbidden, InvalidParameter

Net = IPv4Network | IPv6Network
Ip = IPv4Address | IPv6Address

# What Docker does for user networks, at addresses that rarely meet a company's own.
DEFAULT_POOLS: tuple[tuple[str, int], ...] = (
    ("10.89.0.0/16", 24), ("10.90.0.0/15", 24), ("172.16.0.0/12", 20), ("192.168.0.0/16", 24),
)
MAX_PARTS = 4096  # looked at per pool


def free_subnet(pools: Iterable[tuple[str, int]], taken: Iterable[Net]) -> Net:
    """The first part of a pool that overlaps none of `taken`."""
    occupied = list(taken)
    for pool, size in pools:
        parts: Iterable[Net] = ip_network(pool).subnets(new_prefix=size)
        for part in islice(parts, MAX_PARTS):
            if not overlapping(part, occupied):
                return part
    raise EngineFailure("could not find an available, non-overlapping IPv4 address pool among the defaults "
                        "to assign to the network")


def overlapping(net: Net, others: Iterable[Net]) -> Net | None:
    """The first of `others` that shares an address with `net`; a default route shares with none."""
    for other in others:
        if other.prefixlen and other.version == net.version and (
            other.network_address in net or net.network_address in other
        ):
            return other
    return None


def parse_subnet(text: str) -> Net:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InvalidParameter(f"invalid subnet {text}: invalid CIDR address") from None


def parse_address(text: str) -> Ip:
    try:
        return ip_address(text)
    except ValueError:
        raise InvalidParameter(f"invalid IP address: {text}") from None


class Pool:
    """The addresses of one subnet of one network.

    `gateway` (default: the first address of the range) and `reserved` are never handed out; `ip_range` narrows what
    is handed out unasked, any free address of the subnet may be asked for by name. In an IPv4 subnet of two addresses
    or one, none is the network's or the broadcast address (RFC 3021)."""

    def __init__(self, subnet: str, *, gateway: str = "", ip_range: str = "", reserved: Iterable[str] = ()) -> None:
        self.subnet = parse_subnet(subnet)
        self.range = parse_subnet(ip_range) if ip_range else self.subnet
        if not _within(self.range, self.subnet):
            raise InvalidParameter(f"no matching subnet for range {ip_range}")
        self._first = self._next = int(self.range.network_address)
        self._last = int(self.range.broadcast_address)
        self._used = _nobodys(self.subnet)
        self.gateway = self._gateway(gateway)
        self._used[int(self.gateway)] = "gateway"
        for address in reserved:
            self.reserve(address)

    @property
    def prefixlen(self) -> int:
        return self.subnet.prefixlen

    def reserve(self, address: str) -> bool:
        """Never hand this address out; whether it was free."""
        wanted = parse_address(address)
        if wanted not in self.subnet:
            raise InvalidParameter(f"no matching subnet for aux-address {address}")
        free = int(wanted) not in self._used
        self._used.setdefault(int(wanted), "reserved")
        return free

    def _gateway(self, wanted: str) -> Ip:
        if not wanted:
            number = next((one for one in self._turn(self._first) if one not in self._used), None)
            if number is None:
                raise EngineFailure("failed to allocate gateway (): no available addresses on this pool")
            return self._address(number)
        address = parse_address(wanted)
        if address not in self.subnet:
            raise InvalidParameter(f"no matching subnet for gateway {wanted}")
        if int(address) in self._used:
            raise Forbidden(f"failed to allocate gateway ({wanted}): Address already in use")
        return address

    def _address(self, number: int) -> Ip:
        return self.subnet[number - int(self.subnet.network_address)]

    def take(self, owner: str, wanted: str = "") -> str:
        """An address for `owner`: the one that is `wanted`, or the next free one."""
        if wanted:
            return self._take(parse_address(wanted), owner)
        start = self._next
        for candidate in self._turn(start):
            if candidate not in self._used:
                self._used[candidate] = owner
                self._next = candidate + 1 if candidate < self._last else self._first
                return str(self._address(candidate))
        raise EngineFailure("no available IPv4 addresses on this network's address pools"
                            if self.subnet.version == 4 else
                            "no available IPv6 addresses on this network's address pools")

    def _turn(self, start: int) -> Iterable[int]:
        yield from range(start, self._last + 1)
        yield from range(self._first, start)

    def _take(self, address: Ip, owner: str) -> str:
        if address not in self.subnet:
            raise InvalidParameter(f"no configured subnet contains IP address {address}")
        if self._used.get(int(address), owner) != owner:
            raise Conflict("Address already in use")
        self._used[int(address)] = owner
        return str(address)

    def give_back(self, address: str) -> None:
        """Free again (reserved addresses stay reserved)."""
        number = int(ip_address(address))
        if self._used.get(number) not in ("gateway", "network", "broadcast", "reserved"):
            self._used.pop(number, None)

    @property
    def in_use(self) -> int:
        return len(self._used)


def _nobodys(subnet: Net) -> dict[int, str]:
    """What a subnet never hands out: its own first address (IPv6: that of any router there, RFC 4291 §2.6.1) and, in
    IPv4, its last one."""
    if subnet.version == 4 and subnet.num_addresses <= 2:
        return {}
    found = {int(subnet.network_address): "network"}
    return found if subnet.version == 6 else {**found, int(subnet.broadcast_address): "broadcast"}


def _within(inner: Net, outer: Net) -> bool:
    return inner.version == outer.version and inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def mac_for(address: str) -> str:
    """A locally administered unicast MAC address made of the IPv4 address, as Docker's: `02:42:0a:58:00:02`."""
    packed = ip_address(address).packed
    return (b"\x02\x42" + packed[-4:]).hex(":")
