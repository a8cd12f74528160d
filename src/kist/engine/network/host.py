"""What Kist does to the host's and the containers' network devices. Synchronous; the network thread's own.

On the host, all named after the default bridge (`kist0`) so that several servers can live side by side:

    kist0            the default bridge           kist0-o ═ kist0-i   the relay (see firewall.py)
    kbXXXXXXXXXXXX   a user network's bridge      kvXXXXXXXXXXXX      the host's end of a container's veth
    nftables         the tables inet, ip, ip6 `kist`
    sysctl           net.ipv4.ip_forward (only when it was off; written down, put back by `remove`)
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_network

from kist.engine.network import interfaces
from kist.engine.network.firewall import ISOLATED, RELAY4, RELAY6, Port, Published, Rules
from kist.engine.network.ipam import Net, mac_for
from kist.engine.network.model import BRIDGE, IPVLAN, RESOLVER, Attachment, Network
from kist.engine.network.sandbox import NamespaceThread, Sandbox, read_sysctl, wire, write_sysctl
from kist.linux.bandwidth import limit
from kist.linux.netlink import Link, Netlink, Request, request
from kist.linux.netlink.conntrack import Conntrack
from kist.linux.netlink.nfelements import Element, Elements
from kist.linux.nftables import Nftables, NftablesError, trim_memory

RELAY_ADDRESS = "169.254.88.1"
RELAY_MACS = ("02:42:a9:fe:58:02", "02:42:a9:fe:58:01")
RELAY_MTU = 65535
# Between containers, and between them and the host, no packet leaves the machine: the largest MTU there is makes that
# half as costly again as 1500 does (fewer, larger segments, fewer acknowledgements). What takes the default
# route is held to the MTU of the host's own way out. A network with an MTU option gets just that.
LOCAL_MTU = 65535
RESOLVER_RULES = """\
table ip kist_names {{
    chain output {{
        type nat hook output priority -100; policy accept;
        ip daddr {address} udp dport 53 dnat to {address}:{udp}
        ip daddr {address} tcp dport 53 dnat to {address}:{tcp}
    }}
}}
"""


class Host:
    """Made in the network thread; everything below blocks for as long as the kernel takes."""

    def __init__(self, rules: Rules, state_file: str) -> None:
        self.rules = rules
        self.netlink = Netlink()
        self._elements = Elements()
        self._conntrack = Conntrack()
        self.namespaces = NamespaceThread()
        self._state_file = state_file
        self._indexes: dict[str, int] = {}
        self._outward_mtu = self._find_outward_mtu()

    def close(self) -> None:
        self.netlink.close()
        self._elements.close()
        self._conntrack.close()
        self.namespaces.close()

    # -- the host's side ------------------------------------------------------------------------------------

    def subnets(self) -> list[Net]:
        """Every subnet that the host has a route to (default routes left out)."""
        return [
            ip_network(f"{route.dst}/{route.prefixlen}") for route in self.netlink.routes()
            if route.dst and route.prefixlen and route.table != request.RT_TABLE_LOCAL
        ]

    def addresses(self, without: Iterable[str]) -> list[str]:
        """The addresses by which others know the host: all but those of loopback, of the relay and of the devices
        `without`, and no link-local ones."""
        ours = {*without, self.rules.relay_in, self.rules.relay_out}
        devices = {link.index for link in self.netlink.links() if link.name not in ours}
        return [one.address for one in self.netlink.addresses()
                if one.index in devices and one.scope == request.RT_SCOPE_UNIVERSE]

    def bridge_address(self, name: str) -> tuple[str, int] | None:
        """The IPv4 address of a device that an earlier server left, or None."""
        link = self._find(name)
        for address in self.netlink.addresses() if link else ():
            if link and address.index == link.index and "." in address.address:
                return address.address, address.prefixlen
        return None

    def ensure_bridge(self, network: Network) -> None:
        """The network's bridge with its addresses, as new or as an earlier server left it."""
        name = network.bridge
        link = self._find(name)
        if link is None:
            gateways = [subnet.gateway for subnet in network.subnets if "." in subnet.gateway]
            mac = mac_for(gateways[0]) if gateways else ""
            self.netlink.run(request.bridge(name, mtu=network.mtu or LOCAL_MTU, address=mac, up=False))
            link = self.netlink.link(name)
        self._indexes[name] = link.index
        wanted = [(subnet.gateway, ip_network(subnet.subnet).prefixlen) for subnet in network.subnets
                  if subnet.gateway]
        wanted = [one for one in wanted if not _without_address(network, one[0])]
        self._bridge_sysctls(name, ipv6=network.ipv6)
        present = {(one.address, one.prefixlen) for one in self.netlink.addresses() if one.index == link.index}
        self.netlink.run(
            request.set_link(link.index, up=True, alias=f"kist network {network.name}"[:255]),
            *(request.add_address(link.index, *one) for one in wanted if one not in present),
        )
        if network.ipv6:
            # What `route_localnet` is for 127.0.0.1: answers to connections from the host's ::1 come in by the
            # bridge, and the kernel looks for ::1 among that device's own addresses only.
            self._add(request.add_local_route("::1", 128, link.index))

    def create_bridge(self, network: Network) -> None:
        """A new network's bridge; one of that name must not be there yet, unless the user named it."""
        if self._find(network.bridge) is not None and "com.docker.network.bridge.name" not in network.options:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), f"create bridge {network.bridge}")
        try:
            self.ensure_bridge(network)
        except BaseException:
            self.remove_bridge(network.bridge)
            raise

    def create_parent(self, network: Network) -> None:
        """What a macvlan or ipvlan network stands on."""
        interfaces.ensure_parent(self.netlink, network)

    def remove_parent(self, network: Network) -> None:
        interfaces.remove_parent(self.netlink, network)

    def _bridge_sysctls(self, name: str, *, ipv6: bool) -> None:
        # Connections from the host's 127.0.0.1 to published ports leave through the bridge with that source
        # until postrouting; the raw chain keeps the containers away from 127.0.0.0/8 (CVE-2020-8558).
        write_sysctl(f"ipv4/conf/{name}/route_localnet", "1")
        write_sysctl(f"ipv6/conf/{name}/accept_ra", "0")
        write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "0" if ipv6 else "1")

    def remove_bridge(self, name: str, commands: str = "") -> None:
        self.filter(commands)
        self._indexes.pop(name, None)
        self._delete(name)

    def ensure_relay(self) -> None:
        """The pair of devices that firewall.py sends a connection's first packet through."""
        out, into = self.rules.relay_out, self.rules.relay_in
        if self._find(out) is None:
            self.netlink.run(request.veth(out, peer_name=into, mtu=RELAY_MTU, address=RELAY_MACS[0],
                                          peer_address=RELAY_MACS[1]))
        sender, receiver = self.netlink.link(out), self.netlink.link(into)
        # Reverse path filter: strict (also when it is set for all devices, as ufw does) would drop every copy,
        # for its sender is reached by another device; 2 is "some device reaches it" and needs an address here.
        write_sysctl(f"ipv4/conf/{into}/rp_filter", "2")
        for name in (out, into):
            write_sysctl(f"ipv6/conf/{name}/accept_ra", "0")
            write_sysctl(f"ipv6/conf/{name}/accept_dad", "0")
        self.netlink.run(request.set_link(receiver.index, up=True), request.set_link(sender.index, up=True))
        self._add(
            request.add_address(receiver.index, RELAY_ADDRESS, 32),
            request.add_route(RELAY4, 32, index=sender.index, metric=sender.index),
            request.add_neighbour(sender.index, RELAY4, RELAY_MACS[1]),
        )
        try:
            self._add(request.add_neighbour(sender.index, RELAY6, RELAY_MACS[1]))
        except OSError:
            pass  # a host without IPv6

    def ensure_forwarding(self, *, ipv6: bool) -> None:
        """Let the host forward packets. What it was before is written down first."""
        wanted = {"ipv4/ip_forward": "1"}
        if ipv6:
            # A host that forwards no longer listens to routers (and loses its own default route) unless this is 2.
            wanted |= dict.fromkeys(self._listening_to_routers(), "2") | {"ipv6/conf/all/forwarding": "1"}
        for name, value in wanted.items():
            if read_sysctl(name) not in (value, ""):
                before = self._read_state()
                before.setdefault(name, read_sysctl(name))
                self._write_state(before)
                write_sysctl(name, value)

    def _listening_to_routers(self) -> list[str]:
        names = [f"ipv6/conf/{link.name}/accept_ra" for link in self.netlink.links()]
        return [name for name in names if read_sysctl(name) == "1" and "/lo/" not in name]

    def restore_forwarding(self) -> None:
        for name, value in self._read_state().items():
            try:
                write_sysctl(name, value)
            except FileNotFoundError:
                pass  # of a device that is gone
        if os.path.exists(self._state_file):
            os.unlink(self._state_file)

    def remove(self, bridges: Iterable[str]) -> None:
        """Take away all that is ours on the host."""
        self.filter(self.rules.removal())
        self._delete(self.rules.relay_out)
        for name in bridges:
            bridge = self._find(name)
            for link in self.netlink.links() if bridge else ():
                if bridge and link.master == bridge.index and link.kind == "veth":
                    self._delete(link.name)
            self.remove_bridge(name)
        self.restore_forwarding()

    def has_rules(self) -> bool:
        """Whether all of our tables are there."""
        with _nftables() as nftables:
            return {(family, self.rules.table) for family in self.rules.families()} <= set(nftables.tables())

    def install_rules(self) -> None:
        """Our tables, all anew. What this kernel can't do is left out, and kept in `rules.lacking`: rather a server
        without one protection that says so than no server."""
        # Where bridged frames pass the packet filter, ::1 is put back into answers before the kernel throws away what
        # comes from a device with that address.
        self.rules.loopback6 = read_sysctl("bridge/bridge-nf-call-ip6tables") != "1"
        try:
            self.filter(self.rules.everything())
        except NftablesError:
            self.rules.try_without(self._can)
            self.filter(self.rules.everything())

    def _can(self, commands: str) -> bool:
        """Whether the kernel takes these commands (`nft --check`: nothing is changed)."""
        try:
            with _nftables() as nftables:
                nftables.check(commands)
        except NftablesError:
            return False
        return True

    def dropping(self) -> list[str]:
        """Other programs' chains that drop forwarded packets unless told otherwise."""
        with _nftables() as nftables:
            chains = [entry["chain"] for entry in nftables.show("chains") if "chain" in entry]
        return [f"{chain['family']} {chain['table']} {chain['name']}" for chain in chains
                if chain.get("hook") == "forward" and chain.get("policy") == "drop"
                and chain["table"] != self.rules.table]

    def filter(self, commands: str) -> None:
        """Carry out nft(8) commands, if there are any."""
        if commands:
            with _nftables() as nftables:
                nftables.run(commands)

    def elements(self, elements: Iterable[Element]) -> None:
        """Carry out what a container's start or end changes."""
        try:
            self._elements.change(elements)
        except FileNotFoundError:  # somebody has flushed our tables a moment ago
            self.install_rules()

    # -- a container's side ---------------------------------------------------------------------------------

    def new_sandbox(self, bridge: str) -> Sandbox:
        """A fresh namespace, with an `eth0` on `bridge` unless that is ""."""
        sandbox = self.namespaces.new()
        try:
            if bridge:
                wire(sandbox, self.netlink, self._indexes[bridge], veth_name(), LOCAL_MTU)
        except BaseException:
            sandbox.close()
            raise
        return sandbox

    def address_default(self, sandbox: Sandbox, attachment: Attachment) -> None:
        """The short way for a container on the default network: three messages in one datagram."""
        attachment.host_interface, attachment.interface = sandbox.host_interface, "eth0"
        self.elements(self.rules.guard(port_of(attachment)))
        sandbox.netlink.run(
            request.set_link(sandbox.index, address=attachment.mac),
            request.add_address(sandbox.index, attachment.ip, attachment.prefixlen),
            request.add_route("0.0.0.0", 0, gateway=attachment.gateway, mtu=self._outward_mtu),
        )

    def attach(self, netns_fd: int, network: Network, attachment: Attachment) -> None:
        """Add the interface `attachment.interface` with its addresses, without routes but the connected."""
        with self.namespaces.inside(netns_fd) as netlink:
            self._add_interface(netns_fd, netlink, network, attachment)
            index = netlink.link(attachment.interface).index
            addresses = ((attachment.ip, attachment.prefixlen), (attachment.ip6, attachment.prefixlen6),
                         *interfaces.link_locals(attachment))
            if any(":" in address for address, _ in addresses):
                write_sysctl(f"ipv6/conf/{attachment.interface}/disable_ipv6", "0")
            netlink.run(request.set_link(index, up=True),
                        *(request.add_address(index, *one) for one in addresses if one[0]))
            for name, value in interfaces.sysctls(attachment).items():
                write_sysctl(name, value)
            if attachment.rate:
                netlink.run(request.limit_rate(index, attachment.rate))
            if attachment.rate and attachment.host_interface:
                host_index = self.netlink.link(attachment.host_interface).index
                self.netlink.run(request.limit_rate(host_index, attachment.rate))
            if network.driver == IPVLAN:
                attachment.mac = netlink.link(attachment.interface).address  # the parent's

    def _add_interface(self, netns_fd: int, inside: Netlink, network: Network, attachment: Attachment) -> None:
        if network.driver != BRIDGE:
            parent = self.netlink.link(interfaces.parent_name(network))
            interfaces.add(self.netlink, inside, network, attachment, netns_fd, parent, mtu=network.mtu)
            return
        attachment.host_interface = veth_name()
        bridge = self.netlink.link(network.bridge)
        interfaces.add(self.netlink, inside, network, attachment, netns_fd, bridge, mtu=network.mtu or LOCAL_MTU)
        if network.guarded:
            self.elements(self.rules.guard(port_of(attachment)))

    def limit(self, netns_fd: int, rates: dict[str, int], attachments: Iterable[Attachment]) -> None:
        """The container's own rates, on all of its devices; where they end the network's hold again."""
        with self.namespaces.inside(netns_fd) as netlink:
            limit(netlink, rates)
            for one in attachments:
                if one.rate and rates.get("egress") == 0:
                    netlink.run(request.limit_rate(netlink.link(one.interface).index, one.rate))

    def detach(self, netns_fd: int, interface: str) -> None:
        with self.namespaces.inside(netns_fd) as netlink:
            netlink.run(request.delete_link(interface))

    def set_default_routes(self, netns_fd: int, gateway: str, gateway6: str) -> None:
        """Make these the namespace's default routes; "" leaves it without one."""
        with self.namespaces.inside(netns_fd) as netlink:
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
        other ports, and the queries sent there by two rules: port 53 stays the container's own."""
        with self.namespaces.inside(netns_fd), ExitStack() as stack, Nftables() as nftables:
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC))
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
            udp.bind((RESOLVER, 0))
            tcp.bind((RESOLVER, 0))
            tcp.listen(64)
            rules = RESOLVER_RULES.format(address=RESOLVER, udp=udp.getsockname()[1], tcp=tcp.getsockname()[1])
            # Only a resolver that was started again finds a table. Deleting one costs a grace period (20 ms).
            old = "delete table ip kist_names\n" if ("ip", "kist_names") in nftables.tables() else ""
            nftables.run(old + rules)
            return udp.detach(), tcp.detach()

    def forget_flows(self, ports: Iterable[Published]) -> None:
        """UDP flows that are older than a port's publication, or its end, must find their way anew."""
        changed = {(port.host_port, port.ip) for port in ports if port.proto == "udp"}
        numbers, addresses = {number for number, _ in changed}, {address for _, address in changed}
        if changed:
            self._conntrack.forget(lambda flow: flow.protocol == socket.IPPROTO_UDP
                                   and (flow.port in numbers or flow.answers in addresses))

    def withdraw(self, elements: Iterable[Element], ports: Iterable[Published]) -> None:
        self.elements(elements)
        self.forget_flows(ports)

    def publish(self, host_interface: str, elements: Iterable[Element], ports: Iterable[Published]) -> None:
        """Carry out the packet filter's part, and let a container reach its own published port: the bridge
        sends frames back where they came from. (Needed where bridged frames pass the packet filter,
        net.bridge.bridge-nf-call-iptables.)"""
        self.elements(elements)
        self.forget_flows(ports)
        link = self._find(host_interface)
        if link is not None:
            self.netlink.run(request.set_port(link.index, hairpin=True))

    def _find_outward_mtu(self) -> int:
        """The MTU of the device that the host's default route goes by (the smallest of several)."""
        devices = {route.index for route in self.netlink.routes() if not route.prefixlen and route.gateway}
        return min((link.mtu for link in self.netlink.links() if link.index in devices), default=1500)

    # -- small things ---------------------------------------------------------------------------------------

    def _find(self, name: str) -> Link | None:
        try:
            return self.netlink.link(name)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def _delete(self, name: str) -> None:
        try:
            self.netlink.run(request.delete_link(name))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def _add(self, *requests: Request) -> None:
        """Requests whose thing may be there already."""
        for one in requests:
            try:
                self.netlink.run(one)
            except OSError as error:
                if error.errno != errno.EEXIST:
                    raise

    def _read_state(self) -> dict[str, str]:
        try:
            with open(self._state_file) as file:
                found: dict[str, str] = json.load(file)
                return found
        except (FileNotFoundError, ValueError):
            return {}

    def _write_state(self, state: dict[str, str]) -> None:
        os.makedirs(os.path.dirname(self._state_file), exist_ok=True)
        temporary = f"{self._state_file}.new"
        with open(temporary, "w") as file:
            json.dump(state, file)
        os.replace(temporary, self._state_file)


def _without_address(network: Network, gateway: str) -> bool:
    """Whether the host is to have no address of this family on the bridge."""
    version = 6 if ":" in gateway else 4
    return (network.gateway_mode(version) == ISOLATED
            or (version == 4 and network.flag("inhibit_ipv4", default=False)))


@contextmanager
def _nftables() -> Iterator[Nftables]:
    """A context for one use, and its memory given back: the library keeps all rules of the host that it has read."""
    try:
        with Nftables() as nftables:
            yield nftables
    finally:
        trim_memory()


def port_of(attachment: Attachment) -> Port:
    return Port(attachment.host_interface, attachment.mac, attachment.ip, attachment.ip6)


def veth_name() -> str:
    return f"kv{os.urandom(6).hex()}"
