"""How a container comes by its network, in two steps. What the first gives is all that the container's making needs.

    await wiring.take(endpoint)                          # a namespace, and how the interfaces' host ends will be called
    await wiring.connect(endpoint, elements, ports)      # packet filter and interfaces, while the container is made
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kist.engine.network import interfaces
from kist.engine.network.addressing import gateways
from kist.engine.network.firewall import Published
from kist.engine.network.host import Host
from kist.engine.network.inside import veth_name
from kist.engine.network.model import BRIDGE, NONE, Endpoint, Network
from kist.engine.network.sandbox import Sandbox
from kist.engine.network.thread import HostThread
from kist.engine.network.translate import publisher
from kist.engine.network.warm import WarmPool
from kist.linux.netlink.nfelements import Element


class Wiring:
    """For the event loop's thread. `networks` are all there are, by id; `bridge` is the default one's."""

    def __init__(self, thread: HostThread, networks: Mapping[str, Network], bridge: str, warm: tuple[int, int]) -> None:
        self._thread, self._networks, self._bridge = thread, networks, bridge
        self._warm = WarmPool(self._new_sandbox, wired=warm[0], blank=warm[1])
        self._wired: dict[str, Sandbox] = {}  # container id → taken, with an interface that has no address yet

    def begin(self) -> None:
        """Make namespaces ahead."""
        self._warm.fill_later(0.0)

    async def close(self) -> None:
        await self._warm.close()

    async def take(self, endpoint: Endpoint) -> None:
        """A namespace for all of the endpoint's attachments, whose host ends have their names from now on."""
        attachments = endpoint.attachments
        if [one.network_name for one in attachments] == ["bridge"] and interfaces.is_plain(attachments[0]):
            sandbox = self._wired[endpoint.container_id] = await self._warm.take("wired")
            attachments[0].host_interface = sandbox.host_interface
        else:
            sandbox = await self._warm.take("blank")
            sandbox.netlink.close()
            for one in attachments:
                if self._networks[one.network].driver == BRIDGE:
                    one.host_interface = veth_name()
        endpoint.netns_fd = sandbox.netns_fd

    async def connect(self, endpoint: Endpoint, elements: Collection[Element], ports: Collection[Published]) -> None:
        """Let the namespace be what the endpoint says. `elements` are the packet filter's part, `ports` those of them
        that are published."""
        sandbox = self._wired.pop(endpoint.container_id, None)
        attached = any(self._networks[one.network].driver != NONE for one in endpoint.attachments)
        try:
            if elements or attached:
                await self._thread.do(lambda host: self._connect(host, endpoint, sandbox, elements, ports))
        finally:
            if sandbox is not None:
                sandbox.netlink.close()

    def _connect(self, host: Host, endpoint: Endpoint, sandbox: Sandbox | None, elements: Collection[Element],
                 ports: Collection[Published]) -> None:
        """In the network thread. The packet filter comes first: nothing is sent that it doesn't hold to its rules."""
        host.filter.ports(elements, ports)
        if sandbox is not None:
            host.inside.address_default(sandbox, endpoint.first)
        else:
            self._attach_all(host, endpoint)
        out = publisher(endpoint)
        if ports and out is not None:
            host.bridges.hairpin(out.host_interface)

    def _attach_all(self, host: Host, endpoint: Endpoint) -> None:
        netns = endpoint.netns_fd
        if netns is None or endpoint.shared:
            return
        for attachment in endpoint.attachments:
            host.inside.attach(netns, self._networks[attachment.network], attachment)
        host.inside.set_default_routes(netns, *gateways(endpoint.attachments))

    def forget(self, container_id: str) -> None:
        """It has been given up before it was connected."""
        sandbox = self._wired.pop(container_id, None)
        if sandbox is not None:
            sandbox.netlink.close()

    async def _new_sandbox(self, kind: str) -> Sandbox:
        bridge = self._bridge if kind == "wired" else ""
        return await self._thread.do(lambda host: host.inside.new_sandbox(bridge))
