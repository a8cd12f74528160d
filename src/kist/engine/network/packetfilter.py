"""The kernel's packet filter brought in line with our rules (firewall.py), and the flows that a change concerns.

Whole tables and networks go in as nft(8) commands, by libnftables; what a container's start or end changes goes as
elements, by netlink, because that library reads all of the host's rules first.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from kist.engine.network.firewall import Published, Rules
from kist.engine.network.sysctl import Sysctls
from kist.linux.netlink.conntrack import Conntrack
from kist.linux.netlink.nfelements import Element, Elements
from kist.linux.nftables import Nftables, NftablesError, trim_memory


class PacketFilter:
    """Synchronous; the network thread's own."""

    def __init__(self, rules: Rules, sysctls: Sysctls) -> None:
        self.rules, self._sysctls = rules, sysctls
        self._elements = Elements()
        self._conntrack = Conntrack()

    def close(self) -> None:
        self._elements.close()
        self._conntrack.close()

    def is_there(self) -> bool:
        """Whether all of our tables are there."""
        with _nftables() as nftables:
            return {(family, self.rules.table) for family in self.rules.families()} <= set(nftables.tables())

    def install(self) -> None:
        """Our tables, all anew. What this kernel can't do is left out, and kept in `rules.lacking`: rather a server
        without one protection that says so than no server."""
        self.rules.loopback6 = self._can_loopback6()
        try:
            self.run(self.rules.everything())
        except NftablesError:
            self.rules.try_without(self._can)
            self.run(self.rules.everything())

    def _can_loopback6(self) -> bool:
        """Where bridged frames pass the packet filter, ::1 is put back into answers before the kernel throws away what
        comes from a device with that address."""
        return self._sysctls.read("bridge/bridge-nf-call-ip6tables") != "1"

    def follow_switches(self) -> None:
        """Our tables anew, if a switch that they depend on has been changed since."""
        if self.rules.loopback6 != self._can_loopback6():
            self.install()

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

    def run(self, commands: str) -> None:
        """Carry out nft(8) commands, if there are any."""
        if commands:
            with _nftables() as nftables:
                nftables.run(commands)

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


@contextmanager
def _nftables() -> Iterator[Nftables]:
    """A context for one use, and its memory given back: the library keeps all rules of the host that it has read."""
    try:
        with Nftables() as nftables:
            yield nftables
    finally:
        trim_memory()
