"""Networks: the engine's one door to everything about networking.

    networks = Networks(data="/var/lib/kist", run="/run/kist", bridge="kist0", table="kist")
    await networks.open()                            # bridge, rules; user networks from disk
    await networks.adopt(id, record, pid)            # for each container that is still running
    await networks.ready()                           # the rules match what runs now; the pool warms up
    endpoint = await networks.connect(id, "default", name="web", ports={"80/tcp": [{"HostPort": "8080"}]})
    …                                                # start it in endpoint.netns_fd
    await networks.release(id)

    endpoint = await networks.connect(id, "default", …, later=True)
    await networks.wire(endpoint)                    # while it is being made in endpoint.netns_fd; then it may run

A container on several networks: `connect(id, "front", endpoints={"front": {…}, "back": {…}})` makes all the
interfaces before it starts (`mode` names the first one, eth0); `attach` and `detach` change a running one.

What touches the kernel is done by one thread, in the order in which it was asked for: the kernel itself does
networking under one lock. What only counts (addresses, ports, names) is done here in the loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from kist.engine.network import addressing, definitions, inspection, interfaces, reach, translate
from kist.engine.network.addressing import Addresses, gateways
from kist.engine.network.dns.client import NameService
from kist.engine.network.firewall import ROUTED, Rules
from kist.engine.network.host import Host
from kist.engine.network.inside import port_of, veth_name
from kist.engine.network.ipam import DEFAULT_POOLS, Net, parse_subnet
from kist.engine.network.model import BRIDGE, HOST, NONE, Attachment, Endpoint, Network, new_id
from kist.engine.network.ports import HostPorts, Wanted, bound, wanted_ports
from kist.engine.network.thread import HostThread
from kist.engine.network.translate import place, published, publisher, rules_of
from kist.engine.network.watch import Every, Watch
from kist.engine.network.wiring import Wiring
from kist.errors import Conflict, EngineFailure, Forbidden, InvalidParameter, NotFound
from kist.linux.netlink.nfelements import Element

Json = dict[str, Any]


class Networks:
    """See the module. All methods are for the event loop's thread."""

    def __init__(
        self, *, data: str, run: str, bridge: str = "kist0", table: str = "kist", subnet: str = "10.88.0.0/16",
        pools: tuple[tuple[str, int], ...] = DEFAULT_POOLS, warm: tuple[int, int] = (4, 2),
        respect_host_firewall: bool = True, ipv6: bool = False, subnet6: str = "", icc: bool = True,
        look_every: float = 10.0,
    ) -> None:
        self._definitions = definitions.Definitions(os.path.join(data, "networks"))
        self._state_file = os.path.join(run, "network.json")
        self._bridge, self._subnet, self._address_pools = bridge, subnet, pools
        self._ipv6, self._subnet6, self._icc = ipv6, subnet6, icc
        self._rules = Rules(table, f"{bridge[:13]}-o", f"{bridge[:13]}-i", respect_host_firewall)
        self._networks: dict[str, Network] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._addresses = Addresses()
        self._ports = HostPorts()
        self._names = NameService(run)
        self._thread = HostThread()
        self._wiring = Wiring(self._thread, self._networks, bridge, warm)
        self._creating = asyncio.Lock()
        self._settled = False
        self._watch: Watch | None = None
        self._look_every, self._looking = look_every, ExitStack()
        self._restoring: asyncio.Task[None] | None = None

    # -- the server's life ----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Find or make the bridges and the tables. Rules that an earlier server left stay as they are until
        `ready`, so the published ports of running containers never stop working."""
        await self._thread.open(self._rules, self._state_file)
        for network in self._definitions.load() or definitions.predefined(self._bridge):
            self._networks[network.id] = network
        default = self.named("bridge")
        default.bridge = self._bridge
        default.options["com.docker.network.bridge.enable_icc"] = "true" if self._icc else "false"
        await self._thread.do(lambda host: self._open_bridges(host, default))
        for network in self._networks.values():
            self._addresses.add(network)

    def _open_bridges(self, host: Host, default: Network) -> None:
        """In the network thread."""
        present = host.bridges.address(self._bridge)
        others = self._subnets(without=default)
        definitions.choose_default(default, present, self._subnet, [*others, *host.subnets()], self._address_pools)
        definitions.choose_default6(default, self._subnet6, others, wanted=self._ipv6)
        host.bridges.ensure_relay(self._rules.relay_out, self._rules.relay_in)
        host.forwarding.ensure(ipv6=any(network.ipv6 for network in self._networks.values()))
        for network in self._networks.values():
            if network.driver == BRIDGE:
                host.bridges.ensure(network)
                self._rules.add_bridge(rules_of(network))
            if network.predefined:
                self._definitions.save(network)
        if not host.filter.is_there():
            host.filter.install()

    async def ready(self) -> None:
        """All containers that still run are adopted: bring the rules in line, begin to fill the pool."""
        self._settled = True
        await self._thread.do(lambda host: host.filter.install())
        await self._names.settle()
        if self._watch is None:
            self._watch = Watch(self._rules.table, self._rules_lost)
            self._looking.callback(Every(self._look_every, self._look).close)
        self._wiring.begin()

    def _rules_lost(self) -> None:
        """Somebody (or we ourselves) replaced tables: look, and put ours back."""
        if self._restoring is None or self._restoring.done():
            self._restoring = asyncio.ensure_future(self._restore_rules())

    def _look(self) -> None:
        """The kernel tells nobody when a sysctl changes, and ports on ::1 depend on one."""
        if (self._restoring is None or self._restoring.done()) and any(
                port.family == "ip6" for port in self._rules.published):
            self._restoring = asyncio.ensure_future(self._follow_switches())

    async def _follow_switches(self) -> None:
        await self._thread.do(lambda host: host.filter.follow_switches())

    async def _restore_rules(self) -> None:
        if not await self._thread.do(lambda host: host.filter.is_there()):
            await self._thread.do(lambda host: host.filter.install())

    async def warnings(self) -> Sequence[str]:
        """What an administrator should know: protections that this kernel lacks, and rules of the host that keep
        containers from the outside."""
        dropping = await self._thread.do(lambda host: host.filter.dropping())
        return [*self._rules.lacking, *(
            f"nftables chain {chain} drops forwarded packets: containers reach the outside, and are reached by "
            f"published ports, only as far as rules there allow it (docs/networking.md)" for chain in dropping)]

    async def close(self, *, remove: bool = False) -> None:
        """Let go of everything; containers, bridges and rules stay unless `remove` is true."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._looking.close()
        if self._restoring is not None:
            await asyncio.gather(self._restoring, return_exceptions=True)
        await self._wiring.close()
        await self._names.close(end=remove)
        self._ports.close()
        if remove and self._thread.is_open:
            await self._thread.do(self._remove_all)
        await self._thread.close()
        for endpoint in self._endpoints.values():
            _close_namespace(endpoint)
        self._endpoints.clear()

    def _remove_all(self, host: Host) -> None:
        """In the network thread."""
        host.remove(self._networks.values())
        for network in self._networks.values():
            self._definitions.remove(network)

    # -- a container's life ---------------------------------------------------------------------------------

    async def connect(
        self, container_id: str, mode: str, hostname: str = "", *, name: str = "",
        endpoints: Mapping[str, Json | None] | None = None, ports: Mapping[str, Any] | None = None,
        exposed: Iterable[str] | None = None, publish_all: bool = False, mac: str = "",
        upstreams: Iterable[str] | None = None, links: Mapping[str, Iterable[str]] | None = None, later: bool = False,
    ) -> Endpoint:
        """A network namespace for a container that is about to start.

        `mode` is the API's NetworkMode: "default"/"bridge", "none", "host", "container:<id>" or a network's
        name or id. `endpoints` are the API's EndpointsConfig: the networks to be on (none given: `mode`'s),
        with their settings. `ports` are its PortBindings, `exposed` the names of the image's and user's
        ExposedPorts (`80/tcp`), `upstreams` the resolvers that the user named, `links` what each container
        exposes that this one is linked to (by its id). Where `endpoint.resolver` is set, it is the only nameserver
        that /etc/resolv.conf should name. Nothing is left when it fails.

        With `later` the endpoint has all that can be told of it, addresses and the host's ports too, but its namespace
        is still bare: `wire` comes next, and the container's program runs after it."""
        await self.release(container_id)
        endpoint = Endpoint(container_id, mode, name or container_id[:12], exposed=sorted(exposed or []),
                            upstreams=list(upstreams or []),
                            links={identity: sorted(ports) for identity, ports in (links or {}).items()})
        self._endpoints[container_id] = endpoint
        try:
            await self._place(endpoint, hostname, dict(endpoints or {}), mac)
            self._hold_ports(endpoint, wanted_ports(ports, endpoint.exposed, publish_all=publish_all))
        except BaseException:
            await self.release(container_id)
            raise
        if not later:
            await self.wire(endpoint)
        return endpoint

    async def wire(self, endpoint: Endpoint) -> None:
        """Interfaces, packet filter, names. When it fails, nothing is left of the endpoint."""
        try:
            ports = published(endpoint)
            elements = [element for one in endpoint.attachments for element in self._guard(one)]
            elements += self._rules.publish(ports) + self._relink()
            await self._wiring.connect(endpoint, elements, ports)
            await self._serve_names(endpoint)
        except BaseException:
            await self.release(endpoint.container_id)
            raise

    def _guard(self, attachment: Attachment) -> list[Element]:
        """What the packet filter has to know of its interface: on a bridge, it is held to its addresses."""
        network = self._networks.get(attachment.network)
        return self._rules.guard(port_of(attachment, network)) if attachment.host_interface and network else []

    def _relink(self) -> list[Element]:
        """What the packet filter has to change for links, now that a container has come or gone."""
        linking = any(endpoint.links for endpoint in self._endpoints.values())
        return self._rules.link(translate.links(self._endpoints, self._networks) if linking else set())

    async def _place(self, endpoint: Endpoint, hostname: str, asked: dict[str, Json | None], mac: str) -> None:
        """Its namespace, and its place on each network."""
        mode = "bridge" if endpoint.mode in ("", "default") else endpoint.mode
        if mode.startswith("container:"):
            self._share(endpoint, mode.partition(":")[2])
        elif mode == "host":
            endpoint.attachments = [self._unaddressed("host")]
        elif mode == "none":
            endpoint.attachments = [self._unaddressed("none")]
            await self._wiring.take(endpoint)
        else:
            for network, settings in self._wanted(mode, asked, mac):
                endpoint.attachments.append(self._attachment(endpoint, network, settings, hostname))
            await self._wiring.take(endpoint)

    def _unaddressed(self, name: str) -> Attachment:
        return Attachment(self.named(name).id, name, new_id())

    def _share(self, endpoint: Endpoint, other_id: str) -> None:
        other = self._endpoints.get(other_id)
        if other is None:
            raise Conflict(f"cannot join network of a non running container: {other_id}")
        endpoint.shared = True
        endpoint.netns_fd = os.dup(other.netns_fd) if other.netns_fd is not None else None

    def _wanted(self, mode: str, asked: dict[str, Json | None], mac: str) -> Iterator[tuple[Network, Json]]:
        """The networks to be on, `mode`'s first, with what is asked of each."""
        first = self.named(mode)
        settings = {self.named(name).id: dict(given or {}) for name, given in asked.items()} or {first.id: {}}
        if mac and first.id in settings and not settings[first.id].get("MacAddress"):
            settings[first.id]["MacAddress"] = mac
        for identity in sorted(settings, key=lambda one: one != first.id):
            network = self._networks[identity]
            if network.driver in (HOST, NONE):
                raise InvalidParameter(f"container cannot be connected to network endpoints: {first.name}, "
                                       f"{network.name}")
            yield network, settings[identity]

    def _attachment(self, endpoint: Endpoint, network: Network, asked: Json, hostname: str) -> Attachment:
        own = [endpoint.container_name, endpoint.container_id[:12], *([hostname] if hostname else [])]
        interface = interfaces.choose_name(network, asked, {one.interface for one in endpoint.attachments})
        return self._addresses.attachment(endpoint.container_id, network, asked, interface=interface, names=own)

    async def release(self, container_id: str) -> None:
        """The container has ended (or never started): its addresses and ports are free again. Its devices
        go with its namespace, which the kernel removes when the last process in it is gone; or before, if other
        containers are in there, too: its addresses will be somebody else's."""
        endpoint = self._endpoints.get(container_id)
        if endpoint is not None:
            await self._unplug(endpoint)
            ports = published(endpoint)
            elements = self._rules.withdraw(ports)
            for attachment in endpoint.attachments:
                elements += self._rules.unguard(attachment.host_interface)
            self._forget(endpoint)
            elements += self._relink()
            if elements:
                await self._thread.do(lambda host: host.filter.ports(elements, ports))
            await self._names.drop(container_id)

    async def _unplug(self, endpoint: Endpoint) -> None:
        """Take its devices from those who share its namespace, if anybody does (moby: sandbox.Delete)."""
        if endpoint.netns_fd is not None and any(
                one.shared and reach.owner(one, self._endpoints) is endpoint for one in self._endpoints.values()):
            netns = endpoint.netns_fd
            await self._thread.do(lambda host: host.inside.detach(netns, endpoint.attachments))

    def _forget(self, endpoint: Endpoint) -> None:
        self._endpoints.pop(endpoint.container_id, None)
        self._wiring.forget(endpoint.container_id)
        self._ports.let_go(endpoint.container_id)
        for attachment in endpoint.attachments:
            self._addresses.give_back(attachment)
        _close_namespace(endpoint)

    async def adopt(self, container_id: str, record: Json, init_pid: int) -> Endpoint:
        """Take over a container that an earlier server connected and that still runs as `init_pid`."""
        endpoint = Endpoint.from_record(record)
        if endpoint.mode != "host":
            endpoint.netns_fd = os.open(f"/proc/{init_pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        elements = []
        for attachment in endpoint.attachments:
            self._addresses.take_back(container_id, attachment)
            elements += self._guard(attachment)
        self._endpoints[container_id] = endpoint
        self._ports.take_back(container_id, endpoint.ports)
        elements += self._rules.publish(published(endpoint)) + self._relink()
        await self._thread.elements(elements if self._settled else [])
        await self._serve_names(endpoint)
        return endpoint

    # -- changes while a container runs ---------------------------------------------------------------------

    async def attach(self, container_id: str, network_name: str, asked: Json, hostname: str = "") -> Endpoint:
        """Put a running container on one more network. `asked` is the API's EndpointSettings."""
        endpoint, network = self._running(container_id), self.named(network_name)
        if endpoint.netns_fd is None or endpoint.shared:
            raise InvalidParameter("container sharing network namespace with another container or host cannot be "
                                   "connected to any other network")
        if network.driver in (HOST, NONE):
            raise InvalidParameter("container cannot be connected to multiple networks with one of the networks in "
                                   "private (none) mode")
        if endpoint.on(network.id):
            raise Forbidden(f"endpoint with name {endpoint.container_name} already exists in network {network.name}")
        attachment = self._attachment(endpoint, network, asked, hostname)
        netns = endpoint.netns_fd
        attachment.host_interface = veth_name() if network.driver == BRIDGE else ""
        try:
            await self._thread.elements(self._guard(attachment))
            await self._thread.do(lambda host: host.inside.attach(netns, network, attachment))
        except BaseException:
            self._addresses.give_back(attachment)
            await self._thread.elements(self._rules.unguard(attachment.host_interface))
            raise
        before = [one for one in endpoint.attachments if self._networks[one.network].driver != NONE]
        await self._changed(endpoint, [*before, attachment])
        return endpoint

    async def limit(self, container_id: str, rates: dict[str, int]) -> None:
        """Hold a running container to ``egress`` and ``ingress`` bytes per second; 0 lifts a limit. One that shares
        another's network is left to that one."""
        endpoint = self._running(container_id)
        netns, attachments = endpoint.netns_fd, list(endpoint.attachments)
        if netns is not None and not endpoint.shared:
            await self._thread.do(lambda host: host.inside.limit(netns, rates, attachments))

    async def detach(self, container_id: str, network_name: str) -> Endpoint:
        """Take a running container off a network."""
        endpoint, network = self._running(container_id), self.named(network_name)
        attachment = endpoint.on(network.id)
        if attachment is None or endpoint.netns_fd is None:
            raise Forbidden(f"container {container_id} is not connected to network {network.name}")
        netns = endpoint.netns_fd
        await self._thread.do(lambda host: host.inside.detach(netns, [attachment]))
        self._addresses.give_back(attachment)
        await self._thread.elements(self._rules.unguard(attachment.host_interface))
        await self._changed(endpoint, [one for one in endpoint.attachments if one is not attachment])
        return endpoint

    async def _changed(self, endpoint: Endpoint, attachments: list[Attachment]) -> None:
        """Default routes and published ports follow the attachment that is now the way out."""
        elements = self._rules.withdraw(published(endpoint))
        endpoint.attachments = attachments
        elements += self._rules.publish(published(endpoint)) + self._relink()
        netns = endpoint.netns_fd
        if netns is not None:
            await self._thread.do(lambda host: host.inside.set_default_routes(netns, *gateways(attachments)))
        await self._thread.elements(elements)
        await self._serve_names(endpoint)

    def _running(self, container_id: str) -> Endpoint:
        endpoint = self._endpoints.get(container_id)
        if endpoint is None:
            raise Conflict(f"container {container_id} is not running")
        return endpoint

    # -- published ports ------------------------------------------------------------------------------------

    def _hold_ports(self, endpoint: Endpoint, wanted: Sequence[Wanted]) -> None:
        """The host's ports are the container's from now on."""
        out = publisher(endpoint)
        if not wanted or out is None:
            return
        network = self._networks[out.network]
        try:
            endpoint.ports = self._ports.hold(
                endpoint.container_id, bound(wanted, network), ipv4=bool(out.ip), ipv6=bool(out.ip6),
                routed=[version for version in (4, 6) if network.gateway_mode(version) == ROUTED])
        except EngineFailure as error:
            raise EngineFailure(f"driver failed programming external connectivity on endpoint "
                                f"{endpoint.container_name} ({out.endpoint_id}): {error}") from None

    async def republish(self, container_id: str, ports: Mapping[str, Any] | None, exposed: Iterable[str], *,
                        publish_all: bool) -> Endpoint:
        """Change what a running container publishes, all or nothing. Connections by ports that stay go on."""
        endpoint = self._running(container_id)
        out, before, old = publisher(endpoint), published(endpoint), (endpoint.ports, endpoint.exposed)
        wanted = wanted_ports(ports, exposed, publish_all=publish_all)
        if out is not None:
            endpoint.ports = self._ports.change(container_id, wanted, ipv4=bool(out.ip), ipv6=bool(out.ip6))
        endpoint.exposed = sorted(exposed)
        after = published(endpoint)
        elements = self._rules.withdraw(before - after) + self._rules.publish(after - before)
        if out is not None and elements:
            try:
                await self._thread.do(lambda host: host.publish(out.host_interface, elements, before ^ after))
            except BaseException:
                self._rules.withdraw(after - before)
                self._rules.publish(before - after)
                endpoint.ports, endpoint.exposed = old
                self._ports.let_go(container_id)
                self._ports.take_back(container_id, endpoint.ports)
                raise
        return endpoint

    # -- names ----------------------------------------------------------------------------------------------

    async def _serve_names(self, endpoint: Endpoint) -> None:
        """Tell the resolver who the container is, and let it listen inside. One that has left its last network
        with names keeps its resolver: its /etc/resolv.conf may name it."""
        if endpoint.netns_fd is None or not (endpoint.resolver or self._names.serves(endpoint.container_id)):
            return
        await self._names.put(
            endpoint.container_id, [place(one) for one in endpoint.attachments if one.names],
            lambda: self._resolver_sockets(endpoint), upstreams=endpoint.upstreams,
            forward=any(gateways(endpoint.attachments)))

    async def _resolver_sockets(self, endpoint: Endpoint) -> tuple[int, int]:
        netns = endpoint.netns_fd
        if netns is None:
            raise EngineFailure("the container's network is gone")
        return await self._thread.do(lambda host: host.inside.resolver_sockets(netns))

    def host_addresses(self, endpoint: Endpoint) -> Sequence[str]:
        """What `host-gateway` means for this container."""
        return addressing.host_addresses(endpoint, self._networks)

    # -- networks -------------------------------------------------------------------------------------------

    def named(self, name: str) -> Network:
        """The network of this name, id or unique prefix of an id."""
        name = "bridge" if name == "default" else name
        for network in self._networks.values():
            if name in (network.name, network.id):
                return network
        found = [network for network in self._networks.values() if name and network.id.startswith(name)]
        if len(found) > 1:
            raise InvalidParameter(f"network {name} is ambiguous ({len(found)} matches found based on ID prefix)")
        if not found:
            raise NotFound(f"network {name} not found")
        return found[0]

    async def list(self, filters: Mapping[str, Iterable[str]] | None = None) -> Sequence[Json]:
        """The API's NetworkList."""
        return [inspection.network(network, self._members(network)) for network in self._networks.values()
                if inspection.matches(network, filters or {}, in_use=bool(self._members(network)))]

    async def inspect(self, name: str) -> Json:
        """The API's NetworkInspect."""
        network = self.named(name)
        return inspection.network(network, self._members(network))

    async def map(self, names: Iterable[str] = ()) -> Json:
        """Who can reach whom (reach.py), on the networks of these names or on all."""
        wanted = [self.named(name) for name in names]
        addresses = await self._thread.do(lambda host: host.addresses(one.bridge for one in self._networks.values()))
        return reach.describe(self._networks.values(), self._endpoints.values(), addresses, wanted)

    async def create(self, body: Json) -> Json:
        """Make a network as the API's NetworkCreateRequest asks for: `{"Id", "Warning"}`."""
        network = definitions.define(body, self._networks.values())
        if network.name in ("bridge", "host", "none", "default"):
            raise Forbidden(f"operation is not permitted on predefined {network.name} network ")
        async with self._creating:
            if any(other.name == network.name for other in self._networks.values()):
                raise Conflict(f"network with name {network.name} already exists")
            await self._thread.do(lambda host: self._create(host, network))
            try:
                self._definitions.save(network)
            except BaseException:
                await self._take_down(network)
                raise
            self._networks[network.id] = network
            self._addresses.add(network)
        self._names.start_soon()
        return {"Id": network.id, "Warning": ""}

    def _create(self, host: Host, network: Network) -> None:
        """In the network thread."""
        if network.config_only:
            return
        definitions.check_bridge(network, self._networks.values())
        ours = self._subnets()
        definitions.complete(network, ours, [*ours, *host.subnets()], self._address_pools)
        if network.driver != BRIDGE:
            host.bridges.create_parent(network)
        else:
            host.bridges.create(network)
            try:
                host.forwarding.ensure(ipv6=network.ipv6)
                host.filter.change(self._rules.add_bridge(rules_of(network)))
            except BaseException:
                host.bridges.remove(network)
                raise

    def _subnets(self, without: Network | None = None) -> Sequence[Net]:
        """Of all networks; those of configurations are nobody's until a network is made of one."""
        return [parse_subnet(one.subnet) for other in self._networks.values()
                if other is not without and not other.config_only for one in other.subnets]

    async def remove(self, name: str) -> None:
        network = self.named(name)
        if network.config_only and any(one.config_from == network.name for one in self._networks.values()):
            raise Forbidden(f'error while removing network: configuration network "{network.name}" is in use')
        if network.predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        for _, container_name, attachment in self._members(network):
            raise Forbidden(f"error while removing network: network {network.name} has active endpoints "
                            f'(name:"{container_name}" id:"{attachment.endpoint_id[:12]}")')
        del self._networks[network.id]
        self._addresses.remove(network)
        self._definitions.remove(network)
        await self._take_down(network)

    async def _take_down(self, network: Network) -> None:
        elements = self._rules.remove_bridge(network.bridge)
        await self._thread.do(lambda host: self._take_down_on(host, network, elements))

    def _take_down_on(self, host: Host, network: Network, elements: Sequence[Element]) -> None:
        """In the network thread."""
        if network.bridge:
            host.filter.change(elements)
            host.bridges.remove(network)
        else:
            host.bridges.remove_parent(network)

    def _members(self, network: Network) -> Sequence[tuple[str, str, Attachment]]:
        return [(one.container_id, one.container_name, attachment) for one in self._endpoints.values()
                if (attachment := one.on(network.id)) is not None]


def _close_namespace(endpoint: Endpoint) -> None:
    if endpoint.netns_fd is not None:
        os.close(endpoint.netns_fd)
        endpoint.netns_fd = None
