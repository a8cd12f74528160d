"""`docker update`: limits and the restart policy of a container, also while it runs."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from kist.api import bodies
from kist.engine import host, hostconfig
from kist.engine.container import Container
from kist.engine.limits import check_limits
from kist.engine.parts import Parts
from kist.engine.spec.resources import resources
from kist.errors import Conflict, EngineFailure, InvalidParameter
from kist.launcher.client import LaunchError

Json = dict[str, Any]
# What an update may change; the other fields of the body are refused when they ask for anything.
CHANGEABLE = ("BlkioWeight", "CpuShares", "CpuPeriod", "CpuQuota", "CpusetCpus", "CpusetMems", "Memory", "MemorySwap",
              "MemoryReservation", "NanoCpus", "PidsLimit")


class Update:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self, container: Container, body: bodies.ContainerUpdate) -> Json:
        container.check("update")
        given: Json = msgspec.to_builtins(body)
        policy = given.pop("RestartPolicy")
        _refuse_the_rest(given)
        async with container.lock:
            after = {**container.record.host, **{name: given[name] for name in CHANGEABLE if given[name]}}
            _check(container.record.host, given, after)
            check_limits(after, self._parts.host.limits)
            if policy and policy["Name"]:
                if after["AutoRemove"] and policy["Name"] != "no":
                    raise Conflict(f"Cannot update container {container.id}: Restart policy cannot be updated because "
                                   "AutoRemove is enabled for the container")
                after["RestartPolicy"] = policy
                hostconfig.check_restart(after)
            await self._apply(container, after)
            container.record.host = after
            container.spec_ready = False
            await self._parts.records.save(container.record)
        self._parts.events.publish("container", "update", container.id, container.attributes())
        return {"Warnings": []}

    async def _apply(self, container: Container, after: Json) -> None:
        link = container.link
        if link is None:
            return
        try:
            numbers = await asyncio.to_thread(host.block_numbers, after)
            await link.update(resources(after, numbers))
        except (LaunchError, OSError) as error:
            raise EngineFailure(f"Cannot update container {container.id}: {error}") from None


def _refuse_the_rest(given: Json) -> None:
    for name, value in given.items():
        if name not in CHANGEABLE and value:
            raise InvalidParameter(f"{name} can't be changed by an update")


def _check(before: Json, given: Json, after: Json) -> None:
    """moby: UpdateContainer's conflicts with what the container has already."""
    if given["NanoCpus"] and (before["CpuPeriod"] or before["CpuQuota"]):
        raise Conflict("Conflicting options: Nano CPUs cannot be updated as CPU Period or Quota has already been set")
    if (given["CpuPeriod"] or given["CpuQuota"]) and before["NanoCpus"]:
        raise Conflict("Conflicting options: CPU Period or Quota cannot be updated as NanoCPUs has already been set")
    if given["Memory"] and not given["MemorySwap"] and 0 < before["MemorySwap"] < given["Memory"]:
        raise Conflict("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at "
                       "the same time")
    if given["PidsLimit"] is not None:
        after["PidsLimit"] = given["PidsLimit"] if given["PidsLimit"] > 0 else None
