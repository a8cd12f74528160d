"""What is done in containers' network namespaces: interfaces, addresses, routes, rates, the resolver's sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from kist.engine.network import interfaces
from kist.engine.network.bridges import LOCAL_MTU, Bridges
from kist.engine.network.compiler import Compiler
from kist.engine.network.firewall import Port
from kist.engine.network.model import BRIDGE, IPVLAN, RESOLVER, Attachment, Network
from kist.engine.network.sandbox import NamespaceThread, Sandbox, open_port, wire
from kist.linux.bandwidth import limit
from kist.linux.netlink import Netlink, nfelements, nfrules, request
from kist.linux.netlink.nfelements import Element
from kist.linux.netlink.nfnetlink import Nfnetlink

RESOLVER_TABLE = "kist_names"
RESOLVER_RULES = f"""\
table ip {RESOLVER_TABLE} {{
    map port {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
    chain output {{
        type nat hook output priority -100; policy accept;
        ip daddr {RESOLVER} dnat to meta l4proto . th dport map @port
    }}
}}
"""


class Inside:
    """Synchronous; the network thread's own."""

    def __init__(self, netlink: Netlink, namespaces: NamespaceThread, bridges: Bridges) -> None:
        self._netlink, self._namespaces, self._bridges = netlink, namespaces, bridges
        self._compiler = Compiler(namespaces)
        self._sysctls = namespaces.sysctls
        self._outward_mtu = self._find_outward_mtu()

    def new_sandbox(self, bridge: str) -> Sandbox:
        """A fresh namespace, with an `eth0` on `bridge` unless that is ""."""
        sandbox = self._namespaces.new()
        try:
            if bridge:
                wire(sandbox, self._netlink, self._sysctls, self._bridges.index(bridge), veth_name(), LOCAL_MTU)
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def address_default(self, sandbox: Sandbox, attachment: Attachment) -> None:
        """The short way for a container on the default network: its messages in one datagram."""
        wanted = [
            request.set_link(sandbox.index, address=attachment.mac),
            request.add_address(sandbox.index, attachment.ip, attachment.prefixlen),
            request.add_route("0.0.0.0", 0, gateway=attachment.gateway, mtu=self._outward_mtu),
        ]
        if attachment.ip6:
            # Not before: its link-local address is made of the MAC address.
            sandbox.netlink.run(wanted.pop(0))
            self._namespaces.write_sysctl(sandbox.netns_fd, "ipv6/conf/eth0/disable_ipv6", "0")
            wanted += [request.add_address(sandbox.index, attachment.ip6, attachment.prefixlen6),
                       request.add_route("::", 0, gateway=attachment.gateway6, mtu=self._outward_mtu)]
        sandbox.netlink.run(*wanted)

    def attach(self, netns_fd: int, network: Network, attachment: Attachment) -> None:
        """Add the interface `attachment.interface` with its addresses, without routes but the connected. (What the
        packet filter holds it to comes before: `Rules.guard`.)"""
        if network.driver == BRIDGE:
            self._make_port(netns_fd, network, attachment)
        else:
            parent = self._netlink.link(interfaces.parent_name(network))
            interfaces.make(self._netlink, network, attachment, netns_fd, parent, mtu=network.mtu)
        with self._namespaces.inside(netns_fd) as netlink:
            index = interfaces.find(netlink, network, attachment)
            addresses = ((attachment.ip, attachment.prefixlen), (attachment.ip6, attachment.prefixlen6),
                         *interfaces.link_locals(attachment))
            if any(":" in address for address, _ in addresses):
                self._sysctls.write(f"ipv6/conf/{attachment.interface}/disable_ipv6", "0")
            netlink.run(request.set_link(index, up=True),
                        *(request.add_address(index, *one) for one in addresses if one[0]))
            for name, value in interfaces.sysctls(attachment).items():
                self._sysctls.write(name, value)
            if attachment.rate:
                netlink.run(request.limit_rate(index, attachment.rate))
            if network.driver == IPVLAN:
                attachment.mac = netlink.link(attachment.interface).address  # the parent's

    def _make_port(self, netns_fd: int, network: Network, attachment: Attachment) -> None:
        """A port of the network's bridge, whose other end is in the namespace."""
        name = attachment.host_interface
        bridge = self._netlink.link(network.bridge)
        interfaces.make(self._netlink, network, attachment, netns_fd, bridge, mtu=network.mtu or LOCAL_MTU)
        if attachment.rate:
            self._netlink.run(request.limit_rate(self._netlink.link(name).index, attachment.rate))
        self._bridges.hold_to_rate(network, name)
        open_port(self._netlink, self._sysctls, name)

    def limit(self, netns_fd: int, rates: dict[str, int], attachments: Iterable[Attachment]) -> None:
        """The container's own rates, on all of its devices; where they end the network's hold again."""
        with self._namespaces.inside(netns_fd) as netlink:
            limit(netlink, rates)
            for one in attachments:
                if one.rate and rates.get("egress") == 0:
                    netlink.run(request.limit_rate(netlink.link(one.interface).index, one.rate))

    def detach(self, netns_fd: int, attachments: Iterable[Attachment]) -> None:
        """Remove the interfaces, whatever the container calls them now: those on bridges by the host's end."""
        for one in attachments:
            if one.host_interface:
                _delete(self._netlink, one.host_interface)
            elif one.interface:
                with self._namespaces.inside(netns_fd) as netlink:
                    _delete(netlink, one.interface)

    def set_default_routes(self, netns_fd: int, gateway: str, gateway6: str) -> None:
        """Make these the namespace's default routes; "" leaves it without one."""
        with self._namespaces.inside(netns_fd) as netlink:
            for route in netlink.routes():
                if not route.prefixlen and route.gateway and route.table != request.RT_TABLE_LOCAL:
                    anywhere = "::" if ":" in route.gateway else "0.0.0.0"
                    netlink.run(request.delete_route(anywhere, 0, gateway=route.gateway, index=route.index))
            if gateway:
                netlink.run(request.add_route("0.0.0.0", 0, gateway=gateway, mtu=self._outward_mtu))
            if gateway6:
                netlink.run(request.add_route("::", 0, gateway=gateway6, mtu=self._outward_mtu))

    def resolver_sockets(self, netns_fd: int) -> tuple[int, int]:
        """Sockets (UDP, TCP) in the namespace where queries to 127.0.0.11 port 53 come in. They are bound to
        other ports, and the queries sent there by a rule: port 53 stays the container's own."""
        tables = self._compiler.requests(RESOLVER_RULES)
        with self._namespaces.inside(netns_fd), ExitStack() as stack, Nfnetlink() as kernel:
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
            udp.bind((RESOLVER, 0))
            tcp.bind((RESOLVER, 0))
            tcp.listen(64)
            ports = [_sent_to(protocol, one.getsockname()[1])
                     for protocol, one in ((socket.IPPROTO_UDP, udp), (socket.IPPROTO_TCP, tcp))]
            # Only a resolver that was started again finds a table. Deleting one costs a grace period (20 ms).
            old = nfrules.removal("ip", RESOLVER_TABLE) if nfrules.has_table(kernel, "ip", RESOLVER_TABLE) else []
            kernel.commit([*old, *tables, *nfelements.requests(ports)])
            return udp.detach(), tcp.detach()

    def _find_outward_mtu(self) -> int:
        """The MTU of the device that the host's default route goes by (the smallest of several)."""
        devices = {route.index for route in self._netlink.routes() if not route.prefixlen and route.gateway}
        return min((link.mtu for link in self._netlink.links() if link.index in devices), default=1500)


def _sent_to(protocol: int, port: int) -> Element:
    """Queries by this protocol go to the resolver's port."""
    return Element(add=True, family="ip", table=RESOLVER_TABLE, set="port",
                   key=(("inet_proto", str(protocol)), ("inet_service", "53")),
                   data=(("ipv4_addr", RESOLVER), ("inet_service", str(port))))


def _delete(netlink: Netlink, name: str) -> None:
    try:
        netlink.run(request.delete_link(name))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise


def port_of(attachment: Attachment, network: Network) -> Port:
    addresses = (attachment.ip, attachment.ip6, *(address for address, _ in interfaces.link_locals(attachment)))
    return Port(attachment.host_interface, attachment.mac, tuple(filter(None, addresses)), guarded=network.guarded,
                apart=not network.icc)


def veth_name() -> str:
    return f"kv{os.urandom(6).hex()}"
