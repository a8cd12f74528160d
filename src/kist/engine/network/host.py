"""The kernel's networking, as far as it is ours. Synchronous; made in the network thread, and that thread's own.

    forwarding     whether the host forwards            filter    nftables: the tables `kist`
    bridges        what networks stand on               inside    in the containers' namespaces
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from kist.engine.network.bridges import Bridges
from kist.engine.network.compiler import Compiler
from kist.engine.network.firewall import Published, Rules
from kist.engine.network.forwarding import Forwarding
from kist.engine.network.inside import Inside
from kist.engine.network.ipam import Net
from kist.engine.network.model import Network
from kist.engine.network.packetfilter import PacketFilter
from kist.engine.network.sandbox import NamespaceThread
from kist.linux.netlink import Netlink, request
from kist.linux.netlink.nfelements import Element


class Host:
    """Everything below blocks for as long as the kernel takes."""

    def __init__(self, rules: Rules, state_file: str) -> None:
        self._rules = rules
        self._netlink = Netlink()
        self._namespaces = NamespaceThread()
        sysctls = self._namespaces.sysctls
        self.filter = PacketFilter(rules, sysctls, Compiler(self._namespaces))
        self.forwarding = Forwarding(self._netlink, sysctls, state_file)
        self.bridges = Bridges(self._netlink, sysctls)
        self.inside = Inside(self._netlink, self._namespaces, self.bridges)

    def close(self) -> None:
        self._netlink.close()
        self.filter.close()
        self._namespaces.close()

    def subnets(self) -> list[Net]:
        """Every subnet that the host has a route to (default routes left out)."""
        return [
            ip_network(f"{route.dst}/{route.prefixlen}") for route in self._netlink.routes()
            if route.dst and route.prefixlen and route.table != request.RT_TABLE_LOCAL
        ]

    def addresses(self, without: Iterable[str]) -> list[str]:
        """The addresses by which others know the host: all but those of loopback, of the relay and of the devices
        `without`, and no link-local ones."""
        ours = {*without, self._rules.relay_in, self._rules.relay_out}
        devices = {link.index for link in self._netlink.links() if link.name not in ours}
        return [one.address for one in self._netlink.addresses()
                if one.index in devices and one.scope == request.RT_SCOPE_UNIVERSE]

    def publish(self, host_interface: str, elements: Iterable[Element], ports: Iterable[Published]) -> None:
        """Carry out the packet filter's part, and let a container reach its own published port: the bridge
        sends frames back where they came from. (Needed where bridged frames pass the packet filter,
        net.bridge.bridge-nf-call-iptables.)"""
        self.filter.ports(elements, ports)
        self.bridges.hairpin(host_interface)

    def remove(self, networks: Iterable[Network]) -> None:
        """Take away all that is ours on the host."""
        self.filter.remove()
        self.bridges.remove_relay(self._rules.relay_out)
        for network in networks:
            if network.bridge:
                self.bridges.remove_with_ports(network)
            else:
                self.bridges.remove_parent(network)
        self.forwarding.restore()
