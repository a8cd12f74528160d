"""`update`: limits and the restart policy, as Docker's, and what Docker can't change (alter.py); also while it runs.

A server that is killed in the midst leaves the old or the new::

    published ports   the kernel's rules, then the record     a new server makes the rules anew by the record
    the record        one transaction
    limits            the record, then the control group      `unapplied` on record: a new server applies them
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from kist.api import bodies
from kist.engine import host, hostconfig, names, rates
from kist.engine.alter import (
    DEVICE_LIMITS,
    LIMITS,
    alter,
    changes,
    device_limits,
    pending,
    remove_limits,
    settled,
)
from kist.engine.container import Container
from kist.engine.limits import check_limits, format_set
from kist.engine.parts import Parts
from kist.engine.records import ContainerRecord, Mount
from kist.engine.spec.resources import REMOVABLE, resources, without
from kist.engine.volumes.mounts import VolumeMounts
from kist.errors import Conflict, EngineFailure, InvalidParameter
from kist.launcher.client import LaunchError, MonitorLink

Json = dict[str, Any]
# What an update may change, beside the restart policy; the other fields of the body are refused when they ask for
# anything. Docker's clients never send Ulimits.
CHANGEABLE = (*LIMITS, "Ulimits")
_REPLACED = ("config", "host", "mounts", "pending", "endpoint", "unapplied")  # the record's fields that change


class Update:
    def __init__(self, parts: Parts, volumes: VolumeMounts) -> None:
        self._parts = parts
        self._volumes = volumes

    async def run(self, container: Container, body: bodies.ContainerUpdate) -> Json:
        container.check("update")
        async with container.lock:
            before = container.record.upcoming()
            after = container.record.upcoming()
            self._limits(after, body)
            new = alter(after, body.Kist, names.new_id) if body.Kist else []
            rows = changes(before, after, alive=container.alive)
            if not (body.Kist and body.Kist.DryRun):
                await self._carry_out(container, after, new)
                self._parts.events.publish("container", "update", container.id, container.attributes())
        answer: Json = {"Warnings": []}
        if body.Kist:
            answer["Kist"] = {"Changes": msgspec.to_builtins(rows), "Restarted": False}
        return answer

    def _limits(self, record: ContainerRecord, body: bodies.ContainerUpdate) -> None:
        """Docker's part of it."""
        given: Json = msgspec.to_builtins(body)
        policy, rate = given.pop("RestartPolicy"), given.pop("NetworkRate")
        given.pop("Kist")
        given.pop("KernelMemory")  # Linux has no such limit any more, and Docker takes no notice of it
        _refuse_the_rest(given)
        after = {**record.host, **{name: given[name] for name in CHANGEABLE if given[name]},
                 **device_limits(record.host, given)}
        _check(record.id, record.host, given, after)
        remove_limits(after, (body.Kist and body.Kist.LimitsRemove) or ())
        check_limits(after, self._parts.host.limits)
        after["NetworkRate"] = rates.updated(record.host, rate)
        if policy and policy["Name"]:
            if after["AutoRemove"] and policy["Name"] != "no":
                raise Conflict(f"Cannot update container {record.id}: Restart policy cannot be updated because "
                               "AutoRemove is enabled for the container")
            after["RestartPolicy"] = policy
            hostconfig.check_restart(after)
        record.host = after

    async def _carry_out(self, container: Container, after: ContainerRecord, new: list[Mount]) -> None:
        record = container.record
        old = {name: getattr(record, name) for name in _REPLACED}
        async with AsyncExitStack() as undo:
            with self._volumes.claimed(record, new):
                await self._volumes.attach(record, new, undo)
                await self._ports(container, after, undo)
                _settle(record, after, alive=container.alive)
            undo.callback(_restore, record, old)
            limited = container.link is not None and any(
                record.host[name] != old["host"][name] for name in (*LIMITS, *DEVICE_LIMITS))
            rated = container.link is not None and rates.exact(record.host) != rates.exact(old["host"])
            record.unapplied = limited or rated
            await self._parts.records.save(record)
            if record.unapplied and container.link is not None:
                undo.push_async_callback(self._save_again, container, old)
                await apply_limits(record, container.link, self._parts.host, [
                    name for name in REMOVABLE if old["host"][name] and not record.host[name]])
                if rated:
                    await self._parts.networks.limit(record.id, rates.exact(record.host))
                record.unapplied = False
                record.host = settled(record.host)
                self._parts.records.save(record)
            elif container.link is None:
                record.host = settled(record.host)
                self._parts.records.save(record)
            undo.pop_all()
        container.spec_ready = False

    async def _ports(self, container: Container, after: ContainerRecord, undo: AsyncExitStack) -> None:
        """What a running container publishes changes at once."""
        now, endpoint = container.record, container.endpoint
        if endpoint is None or after.host["PortBindings"] == now.host["PortBindings"]:
            return
        await self._republish(container, after)
        undo.push_async_callback(self._republish, container, msgspec.structs.replace(now))

    async def _republish(self, container: Container, wanted: ContainerRecord) -> None:
        endpoint = await self._parts.networks.republish(
            container.id, wanted.host["PortBindings"], wanted.config.get("ExposedPorts") or {},
            publish_all=wanted.host["PublishAllPorts"])
        container.record.endpoint = endpoint.record()

    async def _save_again(self, container: Container, old: Json) -> None:
        _restore(container.record, old)
        await self._parts.records.save(container.record)


def _settle(record: ContainerRecord, after: ContainerRecord, *, alive: bool) -> None:
    """The record becomes what `after` says; what a running process can't be given waits in `pending`."""
    waiting = pending(record, after) if alive else None
    held = {**waiting.config, **waiting.host} if waiting else {}
    now_config, now_host = record.config, record.host
    record.config = {**after.config, **{name: now_config[name] for name in held if name in now_config}}
    record.host = {**after.host, **{name: now_host[name] for name in held if name in now_host}}
    record.mounts = record.mounts if waiting else after.mounts
    record.pending = waiting


def _restore(record: ContainerRecord, old: Json) -> None:
    for name, value in old.items():
        setattr(record, name, value)


async def apply_limits(record: ContainerRecord, link: MonitorLink, machine: host.Host, lifted: Sequence[str]) -> None:
    """The limits on record, to the control group of a container that runs; `lifted`: those that are there no more."""
    cpus, nodes = machine.limits.cpu_list, format_set(machine.limits.memory_nodes)
    try:
        numbers = await asyncio.to_thread(host.block_numbers, record.host)
        await link.update(without(resources(record.host, numbers), lifted, machine.cgroup_version, cpus, nodes))
    except (LaunchError, OSError) as error:
        raise EngineFailure(f"Cannot update container {record.id}: {error}") from None


def _refuse_the_rest(given: Json) -> None:
    for name, value in given.items():
        if name not in CHANGEABLE and name not in DEVICE_LIMITS and value:
            raise InvalidParameter(f"{name} can't be changed by an update")


def _check(container: str, before: Json, given: Json, after: Json) -> None:
    """moby: UpdateContainer's conflicts with what the container has already."""
    words = ""
    for new, old, said in (("NanoCpus", "CpuPeriod", ("Nano CPUs", "CPU Period")),
                            ("NanoCpus", "CpuQuota", ("Nano CPUs", "CPU Quota")),
                            ("CpuPeriod", "NanoCpus", ("CPU Period", "NanoCPUs")),
                            ("CpuQuota", "NanoCpus", ("CPU Quota", "NanoCPUs"))):
        if given[new] and before[old] and not words:
            words = f"Conflicting options: {said[0]} cannot be updated as {said[1]} has already been set"
    if given["Memory"] and not given["MemorySwap"] and 0 < before["MemorySwap"] < given["Memory"]:
        words = ("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same "
                 "time")
    if words:
        raise Conflict(f"Cannot update container {container}: {words}")
    if given["PidsLimit"] is not None:
        after["PidsLimit"] = given["PidsLimit"] if given["PidsLimit"] > 0 else None
