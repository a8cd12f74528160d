"""The devices that networks stand on: their bridges, the relay, the parents of macvlan and ipvlan.

On the host, all named after the default bridge (`kist0`) so that several servers can live side by side:

    kist0            the default bridge           kist0-o ═ kist0-i   the relay (see firewall.py)
    kbXXXXXXXXXXXX   a user network's bridge      kvXXXXXXXXXXXX      the host's end of a container's veth
    koXXXXXXXXXXXX, kiXXXXXXXXXXXX                a network's rate: what its containers send, and receive
"""

from __future__ import annotations

import errno
import os
from ipaddress import ip_network

from kist.engine.network import interfaces
from kist.engine.network.firewall import ISOLATED, RELAY4, RELAY6
from kist.engine.network.ipam import mac_for
from kist.engine.network.model import Network
from kist.engine.network.sysctl import Sysctls
from kist.errors import InvalidParameter
from kist.linux import tc
from kist.linux.netlink import Link, Netlink, Request, request

RELAY_ADDRESS = "169.254.88.1"
RELAY_MACS = ("02:42:a9:fe:58:02", "02:42:a9:fe:58:01")
RELAY_MTU = 65535
# Between containers, and between them and the host, no packet leaves the machine: the largest MTU there is makes that
# half as costly again as 1500 does (fewer, larger segments, fewer acknowledgements). What takes the default
# route is held to the MTU of the host's own way out. A network with an MTU option gets just that.
LOCAL_MTU = 65535
ALIAS_BYTES = 255  # linux/if.h: IFALIASZ, with its last byte


class Bridges:
    """Synchronous; the network thread's own."""

    def __init__(self, netlink: Netlink, sysctls: Sysctls) -> None:
        self._netlink, self._sysctls = netlink, sysctls
        self._indexes: dict[str, int] = {}

    def index(self, name: str) -> int:
        """Of a bridge that was found or made."""
        return self._indexes[name]

    def address(self, name: str) -> tuple[str, int] | None:
        """The IPv4 address of a device that an earlier server left, or None."""
        link = self._find(name)
        for address in self._netlink.addresses() if link else ():
            if link and address.index == link.index and "." in address.address:
                return address.address, address.prefixlen
        return None

    def ensure(self, network: Network) -> None:
        """The network's bridge with its addresses, as new or as an earlier server left it."""
        name = network.bridge
        link = self._find(name)
        if link is None:
            gateways = [subnet.gateway for subnet in network.subnets if "." in subnet.gateway]
            mac = mac_for(gateways[0]) if gateways else ""
            self._netlink.run(request.bridge(name, mtu=network.mtu or LOCAL_MTU, address=mac, up=False))
            link = self._netlink.link(name)
        self._indexes[name] = link.index
        wanted = [(subnet.gateway, ip_network(subnet.subnet).prefixlen) for subnet in network.subnets
                  if subnet.gateway]
        wanted = [one for one in wanted if not _without_address(network, one[0])]
        self._set_sysctls(network)
        present = {(one.address, one.prefixlen) for one in self._netlink.addresses() if one.index == link.index}
        self._netlink.run(
            request.set_link(link.index, up=True, alias=_alias(network)),
            *(request.add_address(link.index, *one) for one in wanted if one not in present),
        )
        self._ensure_rate(network)
        if network.ipv6:
            # What `route_localnet` is for 127.0.0.1: answers to connections from the host's ::1 come in by the
            # bridge, and the kernel looks for ::1 among that device's own addresses only.
            self._add(request.add_local_route("::1", 128, link.index))

    def create(self, network: Network) -> None:
        """A new network's bridge. One that the user names may be there already; then it stays the user's."""
        link = self._find(network.bridge)
        if link is not None:
            if "com.docker.network.bridge.name" not in network.options:
                raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), f"create bridge {network.bridge}")
            if link.kind != "bridge":
                raise InvalidParameter(f"existing interface {network.bridge} is not a bridge")
            network.found = [f"{one.address}/{one.prefixlen}" for one in self._netlink.addresses()
                             if one.index == link.index]
        try:
            self.ensure(network)
        except BaseException:
            self.remove(network)
            raise

    def _ensure_rate(self, network: Network) -> None:
        """A token bucket for what all ports together send, and one for what they receive. They are this host's
        devices: no container can change them."""
        for name in network.rate_devices if network.rate else ():
            if self._find(name) is None:
                self._netlink.run(tc.ifb(name))
                self._netlink.run(request.limit_rate(self._netlink.link(name).index, network.rate))

    def hold_to_rate(self, network: Network, port: str) -> None:
        """Send all that comes from this port, and all that goes there, through the network's buckets, if it has any."""
        if network.rate:
            index = self._netlink.link(port).index
            sent, received = (self._netlink.link(name).index for name in network.rate_devices)
            self._netlink.run(tc.both_ways(index), tc.redirect(index, sent, tc.INCOMING),
                              tc.redirect(index, received, tc.OUTGOING))

    def remove(self, network: Network) -> None:
        self._indexes.pop(network.bridge, None)
        if network.found is None:
            self._delete(network.bridge)
        else:
            self._give_back(network, network.found)
        for name in network.rate_devices if network.rate else ():
            self._delete(name)

    def _give_back(self, network: Network, found: list[str]) -> None:
        """The user's own bridge, as it was."""
        link = self._find(network.bridge)
        if link:
            self._sysctls.write(f"ipv4/conf/{link.name}/route_localnet",
                                self._sysctls.read("ipv4/conf/default/route_localnet"))
        for one in self._netlink.addresses() if link else ():
            if link and one.index == link.index and f"{one.address}/{one.prefixlen}" not in found and one.address in {
                    subnet.gateway for subnet in network.subnets}:
                self._netlink.run(request.delete_address(link.index, one.address, one.prefixlen))

    def remove_with_ports(self, network: Network) -> None:
        """A bridge, and the containers' devices on it."""
        bridge = self._find(network.bridge)
        for link in self._netlink.links() if bridge else ():
            if bridge and link.master == bridge.index and link.kind == "veth" and (
                    network.found is None or link.name.startswith("kv")):
                self._delete(link.name)
        self.remove(network)

    def hairpin(self, port: str) -> None:
        """Let the bridge send frames back to the port where they came from, if it is there."""
        link = self._find(port)
        if link is not None:
            self._netlink.run(request.set_port(link.index, hairpin=True))

    def create_parent(self, network: Network) -> None:
        """What a macvlan or ipvlan network stands on."""
        interfaces.ensure_parent(self._netlink, network)

    def remove_parent(self, network: Network) -> None:
        interfaces.remove_parent(self._netlink, network)

    def _set_sysctls(self, network: Network) -> None:
        name = network.bridge
        # Connections from the host's 127.0.0.1 to published ports leave through the bridge with that source
        # until postrouting; the raw chain keeps the containers away from 127.0.0.0/8 (CVE-2020-8558).
        self._sysctls.write(f"ipv4/conf/{name}/route_localnet", "1")
        if network.found is None:
            self._sysctls.write(f"ipv6/conf/{name}/accept_ra", "0")
        if network.found is None or network.ipv6:  # else the user's own may have IPv6 for other things
            self._sysctls.write(f"ipv6/conf/{name}/disable_ipv6", "0" if network.ipv6 else "1")

    def ensure_relay(self, out: str, into: str) -> None:
        """The pair of devices that firewall.py sends a connection's first packet through."""
        if self._find(out) is None:
            self._netlink.run(request.veth(out, peer_name=into, mtu=RELAY_MTU, address=RELAY_MACS[0],
                                          peer_address=RELAY_MACS[1]))
        sender, receiver = self._netlink.link(out), self._netlink.link(into)
        # Reverse path filter: strict (also when it is set for all devices, as ufw does) would drop every copy,
        # for its sender is reached by another device; 2 is "some device reaches it" and needs an address here.
        self._sysctls.write(f"ipv4/conf/{into}/rp_filter", "2")
        for name in (out, into):
            self._sysctls.write(f"ipv6/conf/{name}/accept_ra", "0")
            self._sysctls.write(f"ipv6/conf/{name}/accept_dad", "0")
        self._netlink.run(request.set_link(receiver.index, up=True), request.set_link(sender.index, up=True))
        self._add(
            request.add_address(receiver.index, RELAY_ADDRESS, 32),
            request.add_route(RELAY4, 32, index=sender.index, metric=sender.index),
            request.add_neighbour(sender.index, RELAY4, RELAY_MACS[1]),
        )
        try:
            self._add(request.add_neighbour(sender.index, RELAY6, RELAY_MACS[1]))
        except OSError:
            pass  # a host without IPv6

    def remove_relay(self, out: str) -> None:
        self._delete(out)

    def _find(self, name: str) -> Link | None:
        try:
            return self._netlink.link(name)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def _delete(self, name: str) -> None:
        try:
            self._netlink.run(request.delete_link(name))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def _add(self, *requests: Request) -> None:
        """Requests whose thing may be there already."""
        for one in requests:
            try:
                self._netlink.run(one)
            except OSError as error:
                if error.errno != errno.EEXIST:
                    raise


def _alias(network: Network) -> str | None:
    """What `ip -d link` shows."""
    if network.found is not None:
        return None
    return f"kist network {network.name}".encode()[:ALIAS_BYTES].decode(errors="ignore")


def _without_address(network: Network, gateway: str) -> bool:
    """Whether the host is to have no address of this family on the bridge."""
    version = 6 if ":" in gateway else 4
    return (network.gateway_mode(version) == ISOLATED
            or (version == 4 and network.flag("inhibit_ipv4", default=False)))
