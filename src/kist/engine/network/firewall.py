"""The packet filter: Kist's own nftables tables. `docs/networking.md` explains each rule.

    inet <table>   forward: who may talk to whom; postrouting: masquerading; prerouting: the host's loopback
    ip   <table>   published ports, IPv4    maps: port    (tcp . 80                : 10.88.0.2 . 8080)
    ip6  <table>   published ports, IPv6          port_at (192.0.2.1 . tcp . 80    : 10.88.0.2 . 8080)
    bridge <table> nobody speaks with another's address: (kv0123 . 10.88.0.2) are a port's own; containers that are
                   to be kept apart on one bridge (icc=false), but for those that are linked

The rules are constant. What changes are elements of sets and maps, so a thousand published ports cost a
packet as much as one, and a container's start changes a few elements in one transaction.

A published port must not be a hole in the host's own firewall, but a packet whose address was translated
passes `forward`, where no rule made for the host's ports looks at it. So the first packet of a connection
from outside is not translated at once: it goes the way to the host itself, through all of the host's input
rules. What they let through meets our own chain behind them all. That one sends the packet round once more,
through a pair of devices (the relay), and what comes in there is translated. Later packets of the connection
follow the first by connection tracking and never make the detour.

This module is pure: it writes nft(8) commands for the tables with their chains and rules, and data (`Element`) for
what networks and a container's start and end change. `packetfilter.py` has both carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_network

from kist.linux.netlink.nfelements import Element

# Behind every chain of the host, in front of the connection tracker's confirmation (2^31 - 1).
LAST = 2147483000
# The next hop of a copy on the relay; no packet ever carries these addresses.
RELAY4, RELAY6 = "169.254.88.2", "fe80::88:2"

CONNECTIONS = """\
table inet {table} {{
    set bridges {{ type ifname; }}
    set masqueraded {{ type ifname; }}
    set masqueraded6 {{ type ifname; }}
    map source {{ type ifname : ipv4_addr; }}
    map source6 {{ type ifname : ipv6_addr; }}
    set internal {{ type ifname; }}
    set routed {{ type ifname; }}
    set routed6 {{ type ifname; }}
    set direct {{ type ipv4_addr . inet_proto . inet_service; }}
    set direct6 {{ type ipv6_addr . inet_proto . inet_service; }}
    set unprotected {{ type ifname; }}
    set unprotected6 {{ type ifname; }}
    set within {{ type ifname . ifname; }}
    set linked {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; }}
    set linked6 {{ type ipv6_addr . ipv6_addr . inet_proto . inet_service; }}
    set neighbours {{ type ipv4_addr . ipv4_addr; flags interval; }}
    set neighbours6 {{ type ipv6_addr . ipv6_addr; flags interval; }}

    chain prerouting {{
        type filter hook prerouting priority raw; policy accept;
        iifname @bridges ip daddr 127.0.0.0/8 drop
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname @bridges jump containers
        oifname @bridges jump containers
    }}
    chain containers {{
        ct state vmap {{ established : accept, related : accept, invalid : drop }}
        iifname . oifname @within accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        ip saddr . ip daddr . meta l4proto . th dport @linked accept
        ip6 saddr . ip6 daddr . meta l4proto . th dport @linked6 accept
        iifname @internal drop
        oifname @internal drop
        oifname @bridges ct status dnat accept
        ip daddr . meta l4proto . th dport @direct accept
        ip6 daddr . meta l4proto . th dport @direct6 accept
        oifname @routed meta l4proto icmp accept
        oifname @routed6 meta l4proto icmpv6 accept
        iifname != @bridges oifname @unprotected meta nfproto ipv4 accept
        iifname != @bridges oifname @unprotected6 meta nfproto ipv6 accept
        oifname @bridges drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ct status dnat ip saddr . ip daddr @neighbours masquerade
        ct status dnat ip6 saddr . ip6 daddr @neighbours6 masquerade
        oifname != @bridges snat ip to iifname map @source
        oifname != @bridges snat ip6 to iifname map @source6
        meta nfproto ipv4 iifname @masqueraded oifname != @bridges masquerade
        meta nfproto ipv6 iifname @masqueraded6 oifname != @bridges masquerade
        oifname @bridges ip saddr 127.0.0.0/8 masquerade
        oifname @bridges ip6 saddr ::1 masquerade
    }}
}}
"""

PUBLISHING = """\
table {family} {table} {{
    set inside {{ type ifname; elements = {{ "lo", "{relay_in}" }}; }}
    map port {{ type inet_proto . inet_service : {address} . inet_service; }}
    map port_at {{ type {address} . inet_proto . inet_service : {address} . inet_service; }}
    set open {{ type inet_proto . inet_service; }}
    set open_at {{ type {address} . inet_proto . inet_service; }}

    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        {only_inside}fib daddr type local jump publish
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        {not_loopback6}fib daddr type local jump publish
    }}
    chain publish {{
        dnat to {family} daddr . meta l4proto . th dport map @port_at
        dnat to meta l4proto . th dport map @port
    }}
    chain input {{
        type filter hook input priority {last}; policy accept;
        iifname "{relay_in}" drop
        iifname @inside accept
        ct state new {family} daddr . meta l4proto . th dport @open_at jump relay
        ct state new meta l4proto . th dport @open jump relay
    }}
    chain relay {{
        {copy}drop
    }}
}}
"""

GUARD = """\
table bridge {table} {{
    set guarded {{ type ifname; }}
    set own_mac {{ type ifname . ether_addr; }}
    set own_ip {{ type ifname . ipv4_addr; }}
    set own_ip6 {{ type ifname . ipv6_addr; }}
    set own_target {{ typeof iifname . @th,64,128; }}
    set apart {{ type ifname; }}
    set apart_mac {{ type ether_addr; }}
    set linked {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; }}
    set linked6 {{ type ipv6_addr . ipv6_addr . inet_proto . inet_service; }}

    chain prerouting {{
        type filter hook prerouting priority filter; policy accept;
        iifname @guarded jump guard
    }}
    chain guard {{
        ether type {{ 8021q, 8021ad }} drop
        iifname . ether saddr != @own_mac drop
        ether type ip iifname . ip saddr != @own_ip drop
        ether type arp iifname . arp saddr ip != @own_ip drop
        ether type arp iifname . arp saddr ether != @own_mac drop
        icmpv6 type {{ nd-router-advert, nd-redirect }} drop
        icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @own_target drop
        ether type ip6 ip6 saddr :: accept
        ether type ip6 iifname . ip6 saddr != @own_ip6 drop
    }}
    chain addressed {{
        type filter hook prerouting priority filter + 1; policy accept;
        iifname @apart ether daddr @apart_mac jump apart
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname @apart oifname @apart ether daddr != @apart_mac jump apart
    }}
    chain apart {{
        ether type arp accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        ip saddr . ip daddr . meta l4proto . th dport @linked accept
        ip daddr . ip saddr . meta l4proto . th sport @linked accept
        ip6 saddr . ip6 daddr . meta l4proto . th dport @linked6 accept
        ip6 daddr . ip6 saddr . meta l4proto . th sport @linked6 accept
        drop
    }}
}}
"""
# By number: nftables looks names up in /etc/protocols, which a small system needn't have.
PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
FAMILIES = ("inet", "ip", "ip6", "bridge")


# Docker's gateway modes: translated; routed (published ports are reached at the container's own address); translated,
# and reached there at every port by those who have a route; the host has no address there.
NAT, ROUTED, UNPROTECTED, ISOLATED = "nat", "routed", "nat-unprotected", "isolated"
MODES = (NAT, ROUTED, UNPROTECTED, ISOLATED)


@dataclass(frozen=True, slots=True)
class Bridge:
    """What the rules must know about a network's bridge."""

    name: str
    subnets: tuple[str, ...] = ()
    masquerade: bool = True
    sources: tuple[str, ...] = ()  # go out with this address of the host (one of each family), not with the nearest
    internal: bool = False
    modes: tuple[str, str] = (NAT, NAT)  # IPv4, IPv6
    icc: bool = True  # the containers on it may talk to each other
    whole: bool = True  # nobody else is on it. By the user's own bridge may come whoever is behind its other ports


@dataclass(frozen=True, slots=True)
class Port:
    """A container's place on a bridge: the host's end of its veth, and the addresses that are its own. (The link-local
    one that the kernel makes of the MAC address is, too.)"""

    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    guarded: bool = True  # it may speak with these only
    apart: bool = False  # it may not speak to others of this kind


@dataclass(frozen=True, slots=True)
class Published:
    """A host's port (`host_ip` "" = every address) and the container's address and port behind it. `host_port` 0: none
    of the host's, the container's own port is open (gateway mode "routed")."""

    proto: str
    host_ip: str
    host_port: int
    ip: str
    port: int

    @property
    def family(self) -> str:
        return "ip6" if ":" in self.ip else "ip"


@dataclass(frozen=True, slots=True)
class Link:
    """A container that may reach a port of another's, although their network keeps them apart."""

    source: str
    target: str
    proto: str
    port: int


@dataclass(slots=True)
class Rules:
    """The wanted state. Changing it gives the elements that bring the kernel along; `tables` and `elements` make the
    whole anew at any time (the host's firewall was reloaded, a new server has taken over)."""

    table: str
    relay_out: str
    relay_in: str
    respect_host: bool = True
    bridges: dict[str, Bridge] = field(default_factory=dict)
    published: set[Published] = field(default_factory=set)
    ports: dict[str, Port] = field(default_factory=dict)
    links: set[Link] = field(default_factory=set)
    guarding: bool = True
    loopback6: bool = True  # published ports work on ::1
    lacking: list[str] = field(default_factory=list)

    def try_without(self, can: Callable[[str], bool]) -> None:
        """Give up what the kernel can't do, as `can` finds out with a sample of it."""
        self.lacking.clear()
        if self.respect_host and not can(self._publishing("ip", "ipv4_addr", RELAY4)):
            self.respect_host = False
            self.lacking.append("published ports are not subject to the host's input rules "
                                "(the kernel lacks nft_dup_ipv4)")
        if self.guarding and not can(self._guarding()):
            self.guarding = False
            self.lacking.append("containers are not kept from using each other's addresses, nor apart on networks "
                                "with icc=false (the kernel lacks nf_tables for bridges)")

    def tables(self) -> str:
        """The nft(8) commands that make our tables."""
        return (
            CONNECTIONS.format(table=self.table)
            + self._publishing("ip", "ipv4_addr", RELAY4)
            + self._publishing("ip6", "ipv6_addr", RELAY6)
            + (self._guarding() if self.guarding else "")
        )

    def elements(self) -> list[Element]:
        """All that is in them now. (For the network thread: of what may change meanwhile it takes copies, each made in
        one step.)"""
        return [
            *(element for port in list(self.ports.values()) for element in self._guard(port, add=True)),
            *(element for bridge in list(self.bridges.values()) for element in self._bridge(bridge, add=True)),
            *self._ports(self.published.copy(), add=True),
            *self._links(self.links.copy(), add=True),
        ]

    def families(self) -> tuple[str, ...]:
        """The families in which we have a table."""
        return FAMILIES if self.guarding else FAMILIES[:-1]

    def add_bridge(self, bridge: Bridge) -> list[Element]:
        self.bridges[bridge.name] = bridge
        return self._bridge(bridge, add=True)

    def remove_bridge(self, name: str) -> list[Element]:
        bridge = self.bridges.pop(name, None)
        return self._bridge(bridge, add=False) if bridge else []

    def guard(self, port: Port) -> list[Element]:
        """From now on `port` is held to what it may do."""
        old = self.unguard(port.name)
        self.ports[port.name] = port
        return old + self._guard(port, add=True)

    def unguard(self, name: str) -> list[Element]:
        port = self.ports.pop(name, None)
        return self._guard(port, add=False) if port else []

    def publish(self, ports: Iterable[Published]) -> list[Element]:
        new = set(ports) - self.published
        self.published |= new
        return self._ports(new, add=True)

    def withdraw(self, ports: Iterable[Published]) -> list[Element]:
        old = set(ports) & self.published
        self.published -= old
        return self._ports(old, add=False)

    def link(self, links: set[Link]) -> list[Element]:
        """From now on these are the links."""
        old, new = self.links - links, links - self.links
        self.links = links
        return self._links(old, add=False) + self._links(new, add=True)

    def _links(self, links: Iterable[Link], *, add: bool) -> list[Element]:
        found = []
        for one in links:
            which, kind = ("linked6", "ipv6_addr") if ":" in one.target else ("linked", "ipv4_addr")
            key = ((kind, one.source), (kind, one.target), ("inet_proto", str(PROTOCOL_NUMBERS[one.proto])),
                   ("inet_service", str(one.port)))
            found += [Element(add, family, self.table, which, key)
                      for family in (("inet", "bridge") if self.guarding else ("inet",))]
        return sorted(found, key=lambda element: (element.family, element.set))

    def _publishing(self, family: str, address: str, next_hop: str) -> str:
        only_inside = "iifname @inside " if self.respect_host else ""
        copy = f'dup to {next_hop} device "{self.relay_out}"\n        ' if self.respect_host else ""
        not_loopback6 = "ip6 daddr ::1 accept\n        " if family == "ip6" and not self.loopback6 else ""
        return PUBLISHING.format(
            family=family, table=self.table, address=address, last=LAST, relay_in=self.relay_in,
            only_inside=only_inside, copy=copy, not_loopback6=not_loopback6)

    def _guarding(self) -> str:
        return GUARD.format(table=self.table)

    def _guard(self, port: Port, *, add: bool) -> list[Element]:
        if not self.guarding:
            return []
        name = ("ifname", port.name)
        own4 = [one for one in port.addresses if ":" not in one]
        own6 = [*(one for one in port.addresses if ":" in one), link_local(port.mac)]
        owned = [("own_mac", "ether_addr", port.mac), *(("own_ip", "ipv4_addr", one) for one in own4),
                 *(("own_ip6", "ipv6_addr", one) for one in own6), *(("own_target", "nd_target", one) for one in own6)]
        found = [Element(add, "bridge", self.table, "guarded", (name,)),
                 *(Element(add, "bridge", self.table, which, (name, (kind, value)))
                   for which, kind, value in owned)] if port.guarded else []
        return found + ([Element(add, "bridge", self.table, "apart", (name,)),
                         Element(add, "bridge", self.table, "apart_mac", (("ether_addr", port.mac),))]
                        if port.apart else [])

    def _bridge(self, bridge: Bridge, *, add: bool) -> list[Element]:
        name = ("ifname", bridge.name)
        sets = [("inet", "bridges")]
        if bridge.whole:
            sets += [("ip", "inside"), ("ip6", "inside")]
        for suffix, mode in zip(("", "6"), bridge.modes, strict=True):
            if bridge.masquerade and mode in (NAT, UNPROTECTED):
                sets.append(("inet", f"masqueraded{suffix}"))
            if mode in (ROUTED, UNPROTECTED):
                sets.append(("inet", f"{'routed' if mode == ROUTED else 'unprotected'}{suffix}"))
        if bridge.internal:
            sets.append(("inet", "internal"))
        found = [Element(add, family, self.table, which, (name,)) for family, which in sets]
        for source in bridge.sources:
            which, kind = ("source6", "ipv6_addr") if ":" in source else ("source", "ipv4_addr")
            found.append(Element(add, "inet", self.table, which, (name,), ((kind, source),)))
        if bridge.icc:
            found.append(Element(add, "inet", self.table, "within", (name, name)))
        for subnet in map(ip_network, bridge.subnets):
            which, kind = ("neighbours6", "ipv6_addr") if subnet.version == 6 else ("neighbours", "ipv4_addr")
            first, last = (kind, str(subnet.network_address)), (kind, str(subnet.broadcast_address))
            found.append(Element(add, "inet", self.table, which, (first, first), end=(last, last)))
        return found

    def _ports(self, ports: Iterable[Published], *, add: bool) -> list[Element]:
        """Those of one set or map follow each other."""
        elements: list[Element] = []
        for port in sorted(ports, key=repr):
            address = "ipv6_addr" if port.family == "ip6" else "ipv4_addr"
            if not port.host_port:
                elements.append(Element(add, "inet", self.table, "direct6" if port.family == "ip6" else "direct", (
                    (address, port.ip), ("inet_proto", str(PROTOCOL_NUMBERS[port.proto])),
                    ("inet_service", str(port.port)))))
                continue
            key: tuple[tuple[str, str], ...] = (
                ("inet_proto", str(PROTOCOL_NUMBERS[port.proto])), ("inet_service", str(port.host_port)))
            data = ((address, port.ip), ("inet_service", str(port.port)))
            where = ""
            if port.host_ip:
                key, where = ((address, port.host_ip), *key), "_at"
            elements.append(Element(add, port.family, self.table, f"port{where}", key, data if add else ()))
            if self.respect_host:
                elements.append(Element(add, port.family, self.table, f"open{where}", key))
        return sorted(elements, key=lambda one: (one.family, one.set))


def link_local(mac: str) -> str:
    """The IPv6 address that the kernel gives a device with this MAC address (RFC 4291, appendix A)."""
    six = bytes.fromhex(mac.replace(":", ""))
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + bytes([six[0] ^ 2]) + six[1:3] + b"\xff\xfe" + six[3:]))
