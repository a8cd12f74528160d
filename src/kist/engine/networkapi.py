"""Networks as the API speaks of them: `engine.network` does the work, this adds containers by name, and events."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from copy import copy
from typing import Any, TypeVar

import msgspec

from kist.api import bodies
from kist.api.options import Filters
from kist.engine import rates, selection, times
from kist.engine.container import Container
from kist.engine.network.addressing import check_endpoint
from kist.engine.network.networks import Networks
from kist.engine.parts import Parts
from kist.engine.prepare import Prepare
from kist.errors import Forbidden, InvalidParameter, KistError, NotFound

Json = dict[str, Any]
Rows = Sequence[Json]
T = TypeVar("T")
OF_THE_HOST = "container cannot be disconnected from host network or connected to host network"
FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})


class NetworkApi:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._networks: Networks = parts.networks
        self._prepare = Prepare(parts)

    async def list(self, filters: Filters | None = None) -> Rows:
        selection.check(filters or {}, FILTERS)
        return await self._networks.list(filters)

    async def inspect(self, id: str, *, verbose: bool = False, scope: str = "") -> Json:
        if scope not in ("", "local"):
            raise NotFound(f"network {id} not found")
        return await self._networks.inspect(id)

    async def map(self, names: Iterable[str] = ()) -> Json:
        return await self._networks.map(names)

    async def map_as_svg(self, names: Iterable[str] = ()) -> str:
        from kist.engine.network import drawing  # half a megabyte (html's entities), and few ask

        return drawing.svg(await self._networks.map(names))

    async def create(self, body: bodies.NetworkCreate) -> Json:
        made = await self._whole(self._networks.create(msgspec.to_builtins(body)))
        self._publish("create", await self._networks.inspect(made["Id"]))
        return made

    async def remove(self, id: str) -> None:
        found = await self._networks.inspect(id)
        await self._whole(self._networks.remove(found["Id"]))
        self._publish("destroy", found)

    async def prune(self, filters: Filters) -> Json:
        """Networks of users that no container, running or not, is on."""
        selection.check(filters, frozenset({"label", "label!", "until"}))
        before = selection.until(filters)
        used = {name for container in self._parts.register.all()
                for name in (container.record.host["NetworkMode"], *container.record.networks)}
        gone = []
        for found in await self._networks.list():
            if found["Name"] in ("bridge", "host", "none") or found["ConfigOnly"] or found["Name"] in used \
                    or found["Id"] in used or not _chosen(found, filters, before):
                continue
            try:
                await self.remove(found["Id"])
            except KistError:
                continue
            gone.append(found["Name"])
        self._parts.events.publish("network", "prune", "", {"reclaimed": "0"})
        return {"NetworksDeleted": gone or None}

    async def connect(self, id: str, body: bodies.NetworkConnect) -> None:
        """At once when the container runs; else from its next start on (again: with these settings)."""
        container = self._find(body.Container)
        found = await self._networks.inspect(id)
        settings = msgspec.to_builtins(body.EndpointConfig) if body.EndpointConfig else {}
        async with container.lock:
            _check_mode(container, found)
            check_endpoint(self._networks.named(found["Id"]), settings)
            if container.alive and found["Name"] in _networks(container):
                raise Forbidden(f"endpoint with name {container.name} already exists in network {found['Name']}")
            if container.alive:
                before = copy(container.endpoint)
                container.endpoint = await self._whole(self._networks.attach(
                    container.id, found["Id"], settings, container.record.config["Hostname"]))
                self._prepare.renew_resolver(container, before)
                if wanted := rates.to_set(container.record.host):
                    await self._whole(self._networks.limit(container.id, wanted))
            if container.record.unplugged:
                container.record.host["NetworkMode"] = found["Name"]
            container.record.networks = {**_networks(container), found["Name"]: settings}
            container.record.unplugged = False
            await self._save(container)
        self._publish("connect", found, container=container.id)

    async def disconnect(self, id: str, body: bodies.NetworkDisconnect) -> None:
        found = await self._networks.inspect(id)
        container = self._find(body.Container, force=body.Force)
        async with container.lock:
            names = _networks(container)
            if container.record.host["NetworkMode"] == "host" or found["Name"] == "host":
                raise InvalidParameter(OF_THE_HOST)
            if found["Name"] not in names:
                the = "" if container.alive else "the "
                raise InvalidParameter(f"container {container.id} is not connected to {the}network {found['Name']}")
            if container.alive:
                container.endpoint = await self._whole(self._networks.detach(container.id, found["Id"]))
            names.pop(found["Name"])
            container.record.networks = names
            if container.record.host["NetworkMode"] in (found["Name"], found["Id"]):
                container.record.host["NetworkMode"] = next(iter(names), "none")
                container.record.unplugged = not names
            await self._save(container)
        self._publish("disconnect", found, container=container.id)

    def _find(self, name: str, *, force: bool = False) -> Container:
        if not name:
            raise InvalidParameter('invalid name or ID supplied: ""')
        try:
            return self._parts.register.get(name)
        except NotFound:
            if force:
                raise NotFound(f"endpoint {name} not found") from None
            raise

    async def _save(self, container: Container) -> None:
        if container.endpoint is not None:
            container.record.endpoint = container.endpoint.record()
        await self._parts.records.save(container.record)

    @staticmethod
    async def _whole(work: Coroutine[Any, Any, T]) -> T:
        """Carried out to its end, also when the client hangs up."""
        return await asyncio.shield(asyncio.ensure_future(work))

    def _publish(self, action: str, found: Json, **attributes: str) -> None:
        self._parts.events.publish("network", action, found["Id"],
                                   {"name": found["Name"], "type": found["Driver"], **attributes})


def _networks(container: Container) -> Json:
    """What it is on: what was asked for, or the one that its mode names."""
    record = container.record
    return dict(record.networks) or ({} if record.unplugged else {record.host["NetworkMode"]: {}})


def _check_mode(container: Container, found: Json) -> None:
    mode = container.record.host["NetworkMode"]
    if found["Name"] == "host":
        raise InvalidParameter(OF_THE_HOST)
    if mode == "host" or mode.startswith("container:"):
        raise InvalidParameter("container sharing network namespace with another container or host cannot be "
                               "connected to any other network")
    if found["Name"] == "none" or (mode == "none" and not container.record.unplugged):
        raise InvalidParameter("container cannot be connected to multiple networks with one of the networks in private "
                               "(none) mode")


def _chosen(found: Json, filters: Filters, before: Sequence[int]) -> bool:
    labels = found["Labels"] or {}
    created = times.parse_rfc3339(found["Created"])
    return (all(selection.has_label(labels, value) for value in filters.get("label", ()))
            and not any(selection.has_label(labels, value) for value in filters.get("label!", ()))
            and all(created < one for one in before))
