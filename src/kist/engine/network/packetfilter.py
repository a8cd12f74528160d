"""The kernel's packet filter brought in line with our rules (firewall.py), and the flows that a change concerns.

All of it goes by netlink, whole tables in one transaction, so it doesn't matter what else is on the host, nor who
changes it meanwhile.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

from kist.engine.network.compiler import Compiler
from kist.engine.network.firewall import Published, Rules
from kist.engine.network.sysctl import Sysctls
from kist.linux.netlink import nfelements, nfrules
from kist.linux.netlink.conntrack import Conntrack
from kist.linux.netlink.nfelements import Element, Elements
from kist.linux.netlink.wire import Request
from kist.linux.nftables import NftablesError

NF_INET_FORWARD = 2  # NF_BR_FORWARD is the same (linux/netfilter.h, linux/netfilter_bridge.h)


class PacketFilter:
    """Synchronous; the network thread's own."""

    def __init__(self, rules: Rules, sysctls: Sysctls, compiler: Compiler) -> None:
        self.rules, self._sysctls, self._compiler = rules, sysctls, compiler
        self._elements = Elements()
        self._conntrack = Conntrack()

    def close(self) -> None:
        self._elements.close()
        self._conntrack.close()

    def is_there(self) -> bool:
        """Whether all of our tables are there."""
        return all(nfrules.has_table(self._elements, family, self.rules.table) for family in self.rules.families())

    def install(self) -> None:
        """Our tables, all anew. What this kernel can't do is left out, and kept in `rules.lacking`: rather a server
        without one protection that says so than no server."""
        self.rules.loopback6 = self._can_loopback6()
        try:
            tables = self._tables()
        except NftablesError:
            self.rules.try_without(self._compiler.can)
            tables = self._tables()
        self._elements.commit([*self._removal(), *tables, *nfelements.requests(self.rules.elements())])

    def _can_loopback6(self) -> bool:
        """Where bridged frames pass the packet filter, ::1 is put back into answers before the kernel throws away what
        comes from a device with that address."""
        return self._sysctls.read("bridge/bridge-nf-call-ip6tables") != "1"

    def follow_switches(self) -> None:
        """Our tables anew, if a switch that they depend on has been changed since."""
        if self.rules.loopback6 != self._can_loopback6():
            self.install()

    def remove(self) -> None:
        """Take our tables away, there or not."""
        self._elements.commit(self._removal())

    def _removal(self) -> list[Request]:
        return [request for family in self.rules.families() for request in nfrules.removal(family, self.rules.table)]

    def _tables(self) -> Sequence[Request]:
        return self._compiler.requests(self.rules.tables(), self.rules.relay_out)

    def dropping(self) -> list[str]:
        """Other programs' chains that drop forwarded packets unless told otherwise."""
        return [f"{chain.family} {chain.table} {chain.name}" for chain in nfrules.chains(self._elements)
                if chain.hook == NF_INET_FORWARD and chain.drops and chain.table != self.rules.table]

    def change(self, elements: Iterable[Element]) -> None:
        """Carry out what a container's start or end changes."""
        try:
            self._elements.change(elements)
        except FileNotFoundError:  # somebody has flushed our tables a moment ago
            self.install()

    def ports(self, elements: Iterable[Element], ports: Iterable[Published]) -> None:
        """Carry out what changes for these published ports."""
        changed = list(ports)
        self.change(elements)
        if any(port.family == "ip6" for port in changed):
            self.follow_switches()
        self._forget_flows(changed)

    def _forget_flows(self, ports: Iterable[Published]) -> None:
        """UDP flows that are older than a port's publication, or its end, must find their way anew."""
        changed = {(port.host_port, port.ip) for port in ports if port.proto == "udp"}
        numbers, addresses = {number for number, _ in changed}, {address for _, address in changed}
        if changed:
            self._conntrack.forget(lambda flow: flow.protocol == socket.IPPROTO_UDP
                                   and (flow.port in numbers or flow.answers in addresses))
