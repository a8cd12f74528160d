"""The words of networking: a network, a container's attachment to one, its endpoint as a whole.

A container has one *endpoint*: a network namespace with one *attachment* (an interface, its addresses)
for each *network* it is on, and the ports it publishes. `Endpoint.record()` is what the engine keeps and
gives back to `Networks.adopt` after a server restart.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from kist.api import rates

Json = dict[str, Any]

RESOLVER = "127.0.0.11"  # the name service as a container sees it

BRIDGE, HOST, NONE, MACVLAN, IPVLAN = "bridge", "host", "null", "macvlan", "ipvlan"
CONFIG = "configuration"  # of a network that is one in name only; the API calls its driver "null"
# As Go's strconv.ParseBool (here in any case).
TRUTH = {**dict.fromkeys(("1", "t", "true"), True), **dict.fromkeys(("0", "f", "false"), False)}
DRIVERS = (BRIDGE, HOST, NONE, MACVLAN, IPVLAN)


class Subnet(msgspec.Struct, omit_defaults=True):
    """One subnet of a network; `gateway` is always set once the network exists (unless it has none)."""

    subnet: str
    gateway: str = ""
    ip_range: str = ""
    reserved: dict[str, str] = {}


class Network(msgspec.Struct, omit_defaults=True):
    """A network as it is kept on disk. `created` is nanoseconds since 1970."""

    id: str
    name: str
    driver: str
    created: int
    bridge: str = ""
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    predefined: bool = False
    scope: str = "local"  # what the user said; outside of a swarm it means nothing
    config_from: str = ""  # name of the configuration network that its settings were copied from
    made_parent: bool = False  # the device below macvlan or ipvlan is ours
    found: list[str] | None = None  # the bridge is the user's own, and had these addresses (`10.0.0.1/24`)
    subnets: list[Subnet] = []
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None

    def asked(self, name: str) -> str | None:
        """`network.asked("mtu")` reads Docker's `com.docker.network.driver.mtu` and the short `mtu`."""
        for key in (f"com.docker.network.driver.{name}", f"com.docker.network.bridge.{name}",
                    f"com.docker.network.{name}", name):
            if key in self.options:
                return self.options[key]
        return None

    def option(self, name: str, default: str = "") -> str:
        found = self.asked(name)
        return default if found is None else found

    def flag(self, name: str, *, default: bool) -> bool:
        return TRUTH.get(self.option(name).lower(), default)

    def gateway_mode(self, version: int) -> str:
        """How its containers are reached by IPv4, IPv6 (firewall.py, MODES)."""
        return self.option(f"gateway_mode_ipv{version}") or "nat"

    @property
    def config_only(self) -> bool:
        """Whether it is settings for other networks, and nothing that a container could be on."""
        return self.driver == CONFIG

    @property
    def guarded(self) -> bool:
        """Whether its containers are kept from using other addresses than their own."""
        return self.flag("kist.spoof_protection", default=True)

    @property
    def icc(self) -> bool:
        """Whether its containers may talk to each other."""
        return self.flag("enable_icc", default=True)

    @property
    def rate(self) -> int:
        """What all of its containers together may send, and what they may receive: bits per second, 0: no limit."""
        return rates.bits(self.option("kist.rate") or "0")

    @property
    def rate_devices(self) -> tuple[str, str]:
        """Where what they send and what they receive is held to it (bridges.py)."""
        return f"ko{self.id[:12]}", f"ki{self.id[:12]}"

    @property
    def mtu(self) -> int:
        """What the user asked for, 0: nothing (see bridges.py, LOCAL_MTU)."""
        return 0 if self.predefined else int(self.option("mtu") or 0)


class Attachment(msgspec.Struct, omit_defaults=True):
    """A container's place on one network. Addresses are "" where it has none."""

    network: str
    network_name: str
    endpoint_id: str
    interface: str = ""
    host_interface: str = ""
    ip: str = ""
    prefixlen: int = 0
    gateway: str = ""
    ip6: str = ""
    prefixlen6: int = 0
    gateway6: str = ""
    mac: str = ""
    aliases: list[str] = []
    names: list[str] = []
    asked: Json = {}  # the API's EndpointSettings as the user gave them
    gateway_priority: int = 0
    rate: int = 0  # the endpoint's own: bits per second each way, 0: no limit

    def settings(self) -> Json:
        """The API's EndpointSettings."""
        return {
            "IPAMConfig": self.asked.get("IPAMConfig"), "Links": self.asked.get("Links"),
            "Aliases": self.aliases or None, "MacAddress": self.mac, "DriverOpts": self.asked.get("DriverOpts"),
            "GwPriority": self.gateway_priority, "NetworkID": self.network, "EndpointID": self.endpoint_id,
            "Gateway": self.gateway, "IPAddress": self.ip, "IPPrefixLen": self.prefixlen,
            "IPv6Gateway": self.gateway6, "GlobalIPv6Address": self.ip6, "GlobalIPv6PrefixLen": self.prefixlen6,
            "DNSNames": self.names or None,
        }


class Port(msgspec.Struct, frozen=True, omit_defaults=True):
    """A published port: `host_ip` "0.0.0.0" or "::" is every address of that kind; `host_port` 0: the container's own
    address, where it is routed to."""

    proto: str
    port: int
    host_ip: str
    host_port: int


class Endpoint(msgspec.Struct, omit_defaults=True):
    """A container's network. The properties without `attachments` speak of the first one (the API does).

    `netns_fd` is an open descriptor of the namespace, None for the host's; it belongs to `Networks` and is
    good until `release`."""

    container_id: str
    mode: str
    container_name: str = ""
    attachments: list[Attachment] = []
    ports: list[Port] = []
    exposed: list[str] = []
    links: dict[str, list[str]] = {}  # id of a container it is linked to → what that one exposes (`80/tcp`)
    upstreams: list[str] = []  # resolvers that the user named; none: the host's
    shared: bool = False  # the namespace is another container's
    netns_fd: int | None = None

    def record(self) -> Json:
        """What `Networks.adopt` needs after a server restart."""
        found: Json = msgspec.to_builtins(self)
        found.pop("netns_fd", None)
        return found

    @classmethod
    def from_record(cls, record: Json) -> Endpoint:
        return msgspec.convert({**record, "netns_fd": None}, cls)

    @property
    def first(self) -> Attachment:
        return self.attachments[0] if self.attachments else NOWHERE

    @property
    def ip(self) -> str:
        return self.first.ip

    @property
    def prefixlen(self) -> int:
        return self.first.prefixlen

    @property
    def gateway(self) -> str:
        return self.first.gateway

    @property
    def mac(self) -> str:
        return self.first.mac

    @property
    def network_id(self) -> str:
        return self.first.network

    @property
    def name(self) -> str:
        return self.first.network_name

    @property
    def ipv6(self) -> bool:
        return any(attachment.ip6 for attachment in self.attachments)

    @property
    def resolver(self) -> str:
        """The address of the container's own resolver, "" on networks without names (the default one)."""
        return RESOLVER if any(attachment.names for attachment in self.attachments) else ""

    def on(self, network_id: str) -> Attachment | None:
        return next((one for one in self.attachments if one.network == network_id), None)

    def port_map(self) -> dict[str, list[dict[str, str]] | None]:
        """The API's `NetworkSettings.Ports`: exposed ports that are not published map to None."""
        found: dict[str, list[dict[str, str]] | None] = dict.fromkeys(self.exposed)
        for port in self.ports:
            bindings = found.get(f"{port.port}/{port.proto}") or []
            bindings.append({"HostIp": port.host_ip, "HostPort": str(port.host_port)} if port.host_port else
                            {"HostIp": "", "HostPort": ""})
            found[f"{port.port}/{port.proto}"] = bindings
        return found

    def settings(self) -> Json:
        """The API's `NetworkSettings` of a container inspection."""
        # Docker fills the top-level address fields from the default bridge network only.
        first = next((one for one in self.attachments if one.network_name == BRIDGE), NOWHERE)
        return {
            "Bridge": "", "SandboxID": self.container_id, "SandboxKey": "", "HairpinMode": False,
            "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0, "SecondaryIPAddresses": None,
            "SecondaryIPv6Addresses": None, "EndpointID": first.endpoint_id, "Gateway": first.gateway,
            "GlobalIPv6Address": first.ip6, "GlobalIPv6PrefixLen": first.prefixlen6, "IPAddress": first.ip,
            "IPPrefixLen": first.prefixlen, "IPv6Gateway": first.gateway6, "MacAddress": first.mac,
            "Ports": self.port_map(),
            "Networks": {one.network_name: one.settings() for one in self.attachments},
        }


NOWHERE = Attachment(network="", network_name="", endpoint_id="")


def new_id() -> str:
    return os.urandom(32).hex()
