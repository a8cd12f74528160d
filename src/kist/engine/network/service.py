"""Networks for the API: what `Networks` does, in terms of containers by name, records and events.

A network that a container is connected to while it doesn't run is only written into its record
(`record.networks`, the API's EndpointsConfig); the next start makes it so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kist.engine.network.model import HOST, Network
from kist.errors import Conflict, Forbidden, InvalidParameter, NotFound

if TYPE_CHECKING:
    from kist.api.bodies import NetworkConnect, NetworkCreate, NetworkDisconnect
    from kist.engine.container import Container
    from kist.engine.parts import Parts

Json = dict[str, Any]
Filters = Mapping[str, Collection[str]]


class NetworkService:
    """The API's networks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._networks = parts.networks

    async def list(self, filters: Filters | None = None) -> Sequence[Json]:
        return [{**found, "Containers": {}} for found in await self._networks.list(filters)]

    async def inspect(self, id: str, *, verbose: bool = False, scope: str = "") -> Json:
        if scope not in ("", "local"):
            raise NotFound(f"network {id} not found")
        return await self._networks.inspect(id)

    async def create(self, body: NetworkCreate) -> Json:
        made = await self._networks.create(msgspec.to_builtins(body))
        self._tell("create", self._networks.named(made["Id"]))
        return made

    async def remove(self, id: str) -> None:
        network = self._networks.named(id)
        await self._networks.remove(network.id)
        self._tell("destroy", network)

    async def prune(self, filters: Filters) -> Json:
        removed = await self._networks.prune(filters)
        return {"NetworksDeleted": [network.name for network in removed] or None}

    async def connect(self, id: str, body: NetworkConnect) -> None:
        network, container = self._networks.named(id), self._parts.register.get(body.Container)
        asked: Json = msgspec.to_builtins(body.EndpointConfig) if body.EndpointConfig else {}
        async with container.lock:
            self._check(container, network)
            if container.alive:
                container.endpoint = await self._networks.attach(
                    container.id, network.id, asked, container.record.config.get("Hostname") or "")
            elif network.name in container.record.networks:
                raise Forbidden(f"endpoint with name {container.name} already exists in network {network.name}")
            self._keep(container, {**_present(container), network.name: asked})
        self._tell("connect", network, container=container.id)

    async def disconnect(self, id: str, body: NetworkDisconnect) -> None:
        network, container = self._networks.named(id), self._parts.register.get(body.Container)
        async with container.lock:
            present = _present(container)
            if network.name not in present:
                raise Forbidden(f"container {container.id} is not connected to network {network.name}")
            if container.alive:
                container.endpoint = await self._networks.detach(container.id, network.id)
            del present[network.name]
            self._keep(container, present)
        self._tell("disconnect", network, container=container.id)

    def _check(self, container: Container, network: Network) -> None:
        mode = str(container.record.host["NetworkMode"])
        if mode.startswith("container:"):
            raise InvalidParameter("container sharing network namespace with another container or host cannot be "
                                   "connected to any other network")
        if mode == "host" or network.driver == HOST:
            raise InvalidParameter("container cannot be disconnected from host network or connected to host network")
        if container.state in ("removing", "dead"):
            raise Conflict(f"Container {container.id} is marked for removal and cannot be connected or disconnected")

    def _keep(self, container: Container, networks: Json) -> None:
        """Write the new networks, and of a running container the new endpoint, into the record."""
        record = container.record
        record.networks = networks
        if container.endpoint is not None:
            record.endpoint = container.endpoint.record()
        self._parts.records.save(record)

    def _tell(self, action: str, network: Network, **more: str) -> None:
        attributes = {"name": network.name, "type": network.driver, **more}
        self._parts.events.publish("network", action, network.id, attributes)


def _present(container: Container) -> Json:
    """The networks a container is on: those it was given by name, else the one that its mode says."""
    mode = str(container.record.host["NetworkMode"])
    name = "bridge" if mode in ("", "default") else mode
    named = {"bridge" if key == "default" else key: value for key, value in container.record.networks.items()}
    return named or {name: {}}
