"""Networks: the engine's one door to everything about networking.

    networks = Networks(data="/var/lib/kist", run="/run/kist", bridge="kist0", table="kist")
    await networks.open()                            # bridge, rules; user networks from disk
    await networks.adopt(id, record, pid)            # for each container that is still running
    await networks.ready()                           # the rules match what runs now; the pool warms up
    endpoint = await networks.connect(id, "default", name="web", ports={"80/tcp": [{"HostPort": "8080"}]})
    …                                                # start it in endpoint.netns_fd
    await networks.release(id)

A container on several networks: `connect(id, "front", endpoints={"front": {…}, "back": {…}})` makes all the
interfaces before it starts (`mode` names the first one, eth0); `attach` and `detach` change a running one.

What touches the kernel is done by one thread, in the order in which it was asked for: the kernel itself does
networking under one lock. What only counts (addresses, ports, names) is done here in the loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from kist.engine.network import definitions, inspection
from kist.engine.network.firewall import Bridge, Published, Rules
from kist.engine.network.host import Host
from kist.engine.network.ipam import DEFAULT_POOLS, Pool, free_subnet, mac_for, overlapping, parse_subnet
from kist.engine.network.model import BRIDGE, HOST, NONE, Attachment, Endpoint, Network, Port, Subnet, new_id
from kist.engine.network.ports import EVERYWHERE, HostPorts, wanted_ports
from kist.engine.network.sandbox import Pool as SandboxPool
from kist.engine.network.sandbox import Sandbox
from kist.errors import Conflict, EngineFailure, Forbidden, InvalidParameter, NotFound

Json = dict[str, Any]
T = TypeVar("T")

REFILL_AFTER = 0.15  # seconds without a start before the pool is filled up again


class Networks:
    """See the module. All methods are for the event loop's thread."""

    def __init__(
        self, *, data: str, run: str, bridge: str = "kist0", table: str = "kist", subnet: str = "10.88.0.0/16",
        pools: tuple[tuple[str, int], ...] = DEFAULT_POOLS, warm: tuple[int, int] = (4, 2),
        respect_host_firewall: bool = True,
    ) -> None:
        self._definitions = definitions.Definitions(os.path.join(data, "networks"))
        self._state_file = os.path.join(run, "network.json")
        self._bridge, self._subnet, self._address_pools = bridge, subnet, pools
        self._rules = Rules(table, f"{bridge[:13]}-o", f"{bridge[:13]}-i", respect_host_firewall)
        self._networks: dict[str, Network] = {}
        self._pools: dict[str, list[Pool]] = {}  # by network id
        self._endpoints: dict[str, Endpoint] = {}
        self._names: dict[str, str] = {}  # container id -> name
        self._ports = HostPorts()
        self._sandboxes = SandboxPool(wired=warm[0], blank=warm[1])
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kist-network")
        self._host: Host | None = None
        self._settled = False
        self._refill: asyncio.TimerHandle | None = None

    # -- the server's life ----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Find or make the bridges and the tables. Rules that an earlier server left stay as they are until
        `ready`, so published ports of running containers never stop working."""
        self._host = await self._do(lambda _: Host(self._rules, self._state_file), opening=True)
        stored = self._definitions.load() or definitions.predefined(self._bridge)
        for network in stored:
            self._networks[network.id] = network
        default = self.named("bridge")
        default.bridge = self._bridge
        await self._do(lambda host: self._open_bridges(host, default))
        for network in self._networks.values():
            self._pools[network.id] = [definitions.pool_of(subnet) for subnet in network.subnets]

    def _open_bridges(self, host: Host, default: Network) -> None:
        self._choose_default_subnet(host, default)
        for network in self._networks.values():
            if network.driver == BRIDGE:
                host.ensure_bridge(network)
                self._rules.add_bridge(rules_of(network))
        host.ensure_relay()
        host.ensure_forwarding()
        if any(network.ipv6 for network in self._networks.values()):
            host.ensure_forwarding(ipv6=True)
        if ("inet", self._rules.table) not in host.nftables.tables():
            host.filter(self._rules.everything())
        for network in self._networks.values():
            if network.predefined:
                self._definitions.save(network)

    def _choose_default_subnet(self, host: Host, network: Network) -> None:
        """The subnet of the bridge that is there; else the one of last time or of the configuration, unless
        the host has a route there meanwhile; else the next free one."""
        present = host.bridge_address(self._bridge)
        if present:
            subnet = parse_subnet(f"{present[0]}/{present[1]}")
            network.subnets = [Subnet(str(subnet), present[0])]
            return
        taken = host.subnets() + [parse_subnet(one.subnet) for other in self._networks.values()
                                  if other is not network for one in other.subnets]
        configured = parse_subnet(self._subnet)
        free = configured if not overlapping(configured, taken) else free_subnet(self._address_pools, taken)
        network.subnets = [Subnet(str(free), str(free[1]))]

    async def ready(self) -> None:
        """All containers that still run are adopted: bring the rules in line, start to fill the pool."""
        self._settled = True
        await self._do(lambda host: host.filter(self._rules.everything()))
        self._fill_later(0.0)

    async def close(self, *, remove: bool = False) -> None:
        """Let go of everything; containers, bridges and rules stay unless `remove` is true."""
        if self._refill is not None:
            self._refill.cancel()
        self._ports.close()
        if self._host is not None:
            await self._do(lambda host: self._close(host, remove=remove))
            self._host = None
        for endpoint in self._endpoints.values():
            _close_namespace(endpoint)
        self._endpoints.clear()
        self._thread.shutdown(wait=True)

    def _close(self, host: Host, *, remove: bool) -> None:
        self._sandboxes.drain()
        if remove:
            host.remove()
            for network in self._networks.values():
                if network.bridge:
                    host.remove_bridge(network.bridge)
                self._definitions.remove(network)
        host.close()

    # -- a container's life ---------------------------------------------------------------------------------

    async def connect(
        self, container_id: str, mode: str, hostname: str = "", *, name: str = "",
        endpoints: Mapping[str, Json | None] | None = None, ports: Mapping[str, Any] | None = None,
        exposed: Iterable[str] | None = None, publish_all: bool = False, mac: str = "",
    ) -> Endpoint:
        """A network namespace for a container that is about to start.

        `mode` is the API's NetworkMode: "default"/"bridge", "none", "host", "container:<id>" or a network's
        name or id. `endpoints` are the API's EndpointsConfig (several networks: several entries), `ports`
        its PortBindings, `exposed` the image's and user's `ExposedPorts` names (`80/tcp`). Nothing is left
        when it fails."""
        if container_id in self._endpoints:
            await self.release(container_id)
        self._names[container_id] = name or container_id[:12]
        endpoint = Endpoint(container_id, mode, exposed=sorted(exposed or []))
        try:
            await self._connect(endpoint, hostname, dict(endpoints or {}), mac)
            await self._publish(endpoint, ports, publish_all=publish_all)
        except BaseException:
            self._forget(endpoint)
            raise
        self._fill_later(REFILL_AFTER)
        return endpoint

    async def _connect(self, endpoint: Endpoint, hostname: str, asked: dict[str, Json | None], mac: str) -> None:
        mode = "bridge" if endpoint.mode in ("", "default") else endpoint.mode
        self._endpoints[endpoint.container_id] = endpoint
        if mode == "host":
            endpoint.attachments = [self._unaddressed("host")]
        elif mode == "none":
            endpoint.attachments = [self._unaddressed("none")]
            endpoint.netns_fd = await self._take_blank()
        elif mode.startswith("container:"):
            self._share(endpoint, mode.partition(":")[2])
        else:
            self._plan(endpoint, hostname, mode, asked, mac)
            await self._wire(endpoint)

    def _unaddressed(self, name: str) -> Attachment:
        return Attachment(self.named(name).id, name, new_id())

    def _share(self, endpoint: Endpoint, other_id: str) -> None:
        other = self._endpoints.get(other_id)
        if other is None:
            raise Conflict(f"cannot join network of a non running container: {other_id}")
        endpoint.shared = True
        endpoint.netns_fd = os.dup(other.netns_fd) if other.netns_fd is not None else None

    def _plan(self, endpoint: Endpoint, hostname: str, mode: str, asked: dict[str, Json | None], mac: str) -> None:
        """Addresses and names for each network; `mode`'s is the first."""
        first = self.named(mode)
        others = [self.named(name) for name in asked if name not in ("default", mode)]
        wanted = {self.named(name).id: settings or {} for name, settings in asked.items() if name != "default"}
        wanted[first.id] = asked.get("default") or wanted.get(first.id, {})
        for network in [first, *(other for other in others if other is not first)]:
            if network.driver in (HOST, NONE):
                raise InvalidParameter(
                    f"container cannot be connected to network endpoints: {first.name}, {network.name}")
            settings = wanted.get(network.id, {})
            if network is first and mac:
                settings = {"MacAddress": mac, **settings}
            attachment = self._attachment(endpoint.container_id, network, settings, hostname)
            attachment.interface = f"eth{len(endpoint.attachments)}"
            endpoint.attachments.append(attachment)

    def _attachment(self, container_id: str, network: Network, asked: Json, hostname: str) -> Attachment:
        ipam = asked.get("IPAMConfig") or {}
        attachment = Attachment(
            network.id, network.name, new_id(), asked=asked, mac=str(asked.get("MacAddress") or ""),
            gateway_priority=int(asked.get("GwPriority") or 0), aliases=list(asked.get("Aliases") or []),
        )
        if network.predefined and (ipam.get("IPv4Address") or ipam.get("IPv6Address")):
            raise InvalidParameter("user specified IP address is supported on user defined networks only")
        own = [self._names[container_id], *attachment.aliases, container_id[:12], *([hostname] if hostname else [])]
        attachment.names = [] if network.predefined else list(dict.fromkeys(own))
        self._take_addresses(container_id, network, attachment, ipam)
        attachment.mac = attachment.mac or mac_for(attachment.ip or attachment.ip6)
        return attachment

    def _take_addresses(self, owner: str, network: Network, attachment: Attachment, ipam: Json) -> None:
        """One address of each family; from the pool that holds the address that was asked for, if any."""
        for pool in self._pools[network.id]:
            version = pool.subnet.version
            wanted = str(ipam.get(f"IPv{version}Address") or "")
            if wanted and not any(definitions.contains(one, wanted) for one in self._pools[network.id]):
                raise InvalidParameter(f"invalid endpoint settings: no configured subnet contains IP address {wanted}")
            have = attachment.ip if version == 4 else attachment.ip6
            if have or (wanted and not definitions.contains(pool, wanted)):
                continue
            address = pool.take(owner, wanted)
            gateway = str(pool.gateway) if not network.internal else ""
            if version == 4:
                attachment.ip, attachment.prefixlen, attachment.gateway = address, pool.prefixlen, gateway
            else:
                attachment.ip6, attachment.prefixlen6, attachment.gateway6 = address, pool.prefixlen, gateway

    async def _wire(self, endpoint: Endpoint) -> None:
        """The namespace with an interface for each attachment."""
        attachments = endpoint.attachments
        default = self.named("bridge")
        if len(attachments) == 1 and attachments[0].network == default.id and not attachments[0].ip6:
            sandbox = self._sandboxes.take("wired")
            endpoint.netns_fd = await self._do(lambda host: self._wire_default(host, sandbox, attachments[0]))
            return
        endpoint.netns_fd = await self._take_blank()
        await self._do(lambda host: self._wire_all(host, endpoint))

    def _wire_default(self, host: Host, sandbox: Sandbox | None, attachment: Attachment) -> int:
        sandbox = sandbox or self._new_sandbox(host, "wired")
        try:
            host.address_default(sandbox, attachment)
            sandbox.netlink.close()
        except BaseException:
            sandbox.close()
            raise
        return sandbox.netns_fd

    def _wire_all(self, host: Host, endpoint: Endpoint) -> None:
        assert endpoint.netns_fd is not None
        for attachment in endpoint.attachments:
            host.attach(endpoint.netns_fd, self._networks[attachment.network], attachment)
        host.set_default_routes(endpoint.netns_fd, *gateways(endpoint.attachments))

    async def _take_blank(self) -> int:
        sandbox = self._sandboxes.take("blank")
        if sandbox is None:
            sandbox = await self._do(lambda host: self._new_sandbox(host, "blank"))
        sandbox.netlink.close()
        return sandbox.netns_fd

    async def release(self, container_id: str) -> None:
        """The container has ended (or never started): its addresses and ports are free again. Its devices
        go with its namespace, which the kernel removes when the last process in it is gone."""
        endpoint = self._endpoints.get(container_id)
        if endpoint is not None:
            withdrawn = self._rules.withdraw(_published(endpoint))
            self._forget(endpoint)
            if withdrawn:
                await self._do(lambda host: host.filter(withdrawn))

    def _forget(self, endpoint: Endpoint) -> None:
        self._endpoints.pop(endpoint.container_id, None)
        self._names.pop(endpoint.container_id, None)
        self._ports.let_go(endpoint.container_id)
        for attachment in endpoint.attachments:
            self._give_back(attachment)
        _close_namespace(endpoint)

    def _give_back(self, attachment: Attachment) -> None:
        for pool in self._pools.get(attachment.network, ()):
            for address in (attachment.ip, attachment.ip6):
                if address and definitions.contains(pool, address):
                    pool.give_back(address)

    async def adopt(self, container_id: str, record: Json, init_pid: int, *, name: str = "") -> Endpoint:
        """Take over a container that an earlier server connected and that still runs as `init_pid`."""
        endpoint = Endpoint.from_record(record)
        self._names[container_id] = name or container_id[:12]
        if endpoint.mode != "host":
            endpoint.netns_fd = os.open(f"/proc/{init_pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        for attachment in endpoint.attachments:
            for pool in self._pools.get(attachment.network, ()):
                for address in (attachment.ip, attachment.ip6):
                    if address and definitions.contains(pool, address):
                        pool.take(container_id, address)
        self._endpoints[container_id] = endpoint
        self._ports.take_back(container_id, endpoint.ports)
        commands = self._rules.publish(_published(endpoint))
        if self._settled and commands:
            await self._do(lambda host: host.filter(commands))
        return endpoint

    # -- published ports ------------------------------------------------------------------------------------

    async def _publish(self, endpoint: Endpoint, ports: Mapping[str, Any] | None, *, publish_all: bool) -> None:
        """Hold the host's ports and tell the packet filter."""
        wanted = wanted_ports(ports, endpoint.exposed, publish_all=publish_all)
        first = gateway_attachment(endpoint.attachments)
        if not wanted or first is None:
            return
        try:
            endpoint.ports = self._ports.hold(endpoint.container_id, wanted, ipv4=bool(first.ip), ipv6=bool(first.ip6))
        except EngineFailure as error:
            name = self._names[endpoint.container_id]
            raise EngineFailure(f"driver failed programming external connectivity on endpoint {name} "
                                f"({first.endpoint_id}): {error}") from None
        commands = self._rules.publish(_published(endpoint))
        await self._do(lambda host: host.publish(first.host_interface, commands))

    # -- networks -------------------------------------------------------------------------------------------

    def named(self, name: str) -> Network:
        """The network of this name, id or unique prefix of an id."""
        name = {"default": "bridge"}.get(name, name)
        for network in self._networks.values():
            if name in (network.name, network.id):
                return network
        found = [network for network in self._networks.values() if name and network.id.startswith(name)]
        if len(found) > 1:
            raise InvalidParameter(f"network {name} is ambiguous ({len(found)} matches found on name)")
        if not found:
            raise NotFound(f"network {name} not found")
        return found[0]

    async def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> Sequence[Json]:
        """The API's NetworkList."""
        chosen = [one for one in self._networks.values() if inspection.matches(one, filters or {}, self._in_use(one))]
        return [inspection.network(one, self._members(one)) for one in chosen]

    async def inspect(self, name: str) -> Json:
        """The API's NetworkInspect."""
        network = self.named(name)
        return inspection.network(network, self._members(network))

    async def create(self, body: Json) -> Json:
        """Make a network as the API's NetworkCreateRequest asks for: `{"Id", "Warning"}`."""
        network = definitions.define(body)
        if any(other.name == network.name for other in self._networks.values()):
            raise Conflict(f"network with name {network.name} already exists")
        await self._do(lambda host: self._create(host, network))
        self._networks[network.id] = network
        self._pools[network.id] = [definitions.pool_of(subnet) for subnet in network.subnets]
        self._definitions.save(network)
        return {"Id": network.id, "Warning": ""}

    def _create(self, host: Host, network: Network) -> None:
        ours = [parse_subnet(one.subnet) for other in self._networks.values() for one in other.subnets]
        definitions.complete(network, ours, ours + host.subnets(), self._address_pools)
        if network.driver == BRIDGE:
            host.create_bridge(network)
            try:
                if network.ipv6:
                    host.ensure_forwarding(ipv6=True)
                host.filter(self._rules.add_bridge(rules_of(network)))
            except BaseException:
                host.remove_bridge(network.bridge)
                raise

    async def remove(self, name: str) -> None:
        network = self.named(name)
        if network.predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        for container_id, attachment in self._attached(network):
            raise Forbidden(f'error while removing network: network {network.name} has active endpoints '
                            f'(name:"{self._names[container_id]}" id:"{attachment.endpoint_id[:12]}")')
        del self._networks[network.id]
        self._pools.pop(network.id, None)
        self._definitions.remove(network)
        if network.bridge:
            commands = self._rules.remove_bridge(network.bridge)
            await self._do(lambda host: host.remove_bridge(network.bridge, commands))

    def _attached(self, network: Network) -> Sequence[tuple[str, Attachment]]:
        return [(container_id, attachment) for container_id, endpoint in self._endpoints.items()
                if (attachment := endpoint.on(network.id)) is not None]

    def _in_use(self, network: Network) -> bool:
        return bool(self._attached(network))

    def _members(self, network: Network) -> Sequence[tuple[str, str, Attachment]]:
        return [(container_id, self._names[container_id], one) for container_id, one in self._attached(network)]

    # -- the thread and the pool ----------------------------------------------------------------------------

    async def _do(self, work: Callable[[Host], T], *, opening: bool = False) -> T:
        """Carry out `work` in the network thread; what the kernel refuses becomes an EngineFailure."""
        host = self._host
        if host is None and not opening:
            raise EngineFailure("networking is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, host)  # type: ignore[arg-type]
        except OSError as error:
            raise EngineFailure(f"network: {_words(error)}") from error

    def _new_sandbox(self, host: Host, kind: str) -> Sandbox:
        sandbox = host.namespaces.new()
        if kind == "wired":
            try:
                host.wire_default(sandbox, self._bridge)
            except BaseException:
                sandbox.close()
                raise
        return sandbox

    def _fill_later(self, delay: float) -> None:
        """Fill the pool once no container has been started for `delay` seconds: a refill must not take the
        processor from a start. One sandbox per turn, so a start that comes in between waits 1 ms at most."""
        if not self._settled:
            return
        if self._refill is not None:
            self._refill.cancel()
        self._refill = asyncio.get_running_loop().call_later(delay, self._fill)

    def _fill(self) -> None:
        kind = self._sandboxes.lacks()
        host = self._host
        if kind and host is not None:
            made = asyncio.get_running_loop().run_in_executor(self._thread, self._new_sandbox, host, kind)
            made.add_done_callback(lambda done: self._filled(kind, done))

    def _filled(self, kind: str, done: asyncio.Future[Sandbox]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._sandboxes.put(kind, done.result())
            if self._refill is not None and self._refill.when() <= asyncio.get_running_loop().time():
                self._fill()


def rules_of(network: Network) -> Bridge:
    return Bridge(
        network.bridge, tuple(subnet.subnet for subnet in network.subnets), internal=network.internal, icc=network.flag("enable_icc", default=True),
        masquerade=not network.internal and network.flag("enable_ip_masquerade", default=True),
        routed=network.option("gateway_mode_ipv4") == "routed",
    )


def gateway_attachment(attachments: list[Attachment]) -> Attachment | None:
    """The attachment whose gateway is the container's default route: the highest priority, then the name
    that comes first, as Docker has it. Networks without a gateway (internal ones) only when there is no other."""
    ranked = sorted(attachments, key=lambda one: (not (one.gateway or one.gateway6), -one.gateway_priority,
                                                  one.network_name))
    return ranked[0] if ranked and (ranked[0].ip or ranked[0].ip6) else None


def gateways(attachments: list[Attachment]) -> tuple[str, str]:
    """The default routes, IPv4 and IPv6, each from the first attachment in rank that has one."""
    ranked = sorted(attachments, key=lambda one: (-one.gateway_priority, one.network_name))
    return (next((one.gateway for one in ranked if one.gateway), ""),
            next((one.gateway6 for one in ranked if one.gateway6), ""))


def _published(endpoint: Endpoint) -> set[Published]:
    """The packet filter's words for the endpoint's ports."""
    first = gateway_attachment(endpoint.attachments)
    if first is None:
        return set()
    return {
        Published(port.proto, "" if port.host_ip in EVERYWHERE.values() else port.host_ip, port.host_port,
                  first.ip6 if ":" in port.host_ip else first.ip, port.port)
        for port in endpoint.ports
    }


def _close_namespace(endpoint: Endpoint) -> None:
    if endpoint.netns_fd is not None:
        os.close(endpoint.netns_fd)
        endpoint.netns_fd = None


def _words(error: OSError) -> str:
    about = f"{error.filename}: " if error.filename else ""
    return f"{about}{error.strerror or error}"


__all__ = ["Networks", "Port"]
