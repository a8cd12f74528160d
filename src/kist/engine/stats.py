"""`docker stats`: the cgroup's and the network's counters in the API's form, once or every second."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from kist.engine import times
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.launcher.client import LaunchError

Json = dict[str, Any]
EVERY = 1.0
_TICK = os.sysconf("SC_CLK_TCK")


async def samples(parts: Parts, container: Container, *, stream: bool, one_shot: bool) -> AsyncIterator[Json]:
    """One sample, or one a second. Unless `one_shot`, a single one waits a second so that it has a predecessor."""
    before: Json = {}
    if not stream and not one_shot:
        before = await _sample(parts, container)
        if container.alive:
            await asyncio.sleep(EVERY)
    while container.id in parts.register.by_id:
        now = await _sample(parts, container)
        yield {**now, "preread": before.get("read", times.NEVER), "precpu_stats": before.get("cpu_stats", _NO_CPU)}
        if not stream:
            return
        before = now
        await asyncio.sleep(EVERY)


async def _sample(parts: Parts, container: Container) -> Json:
    counters: Json = {}
    link = container.link
    if link is not None:
        try:
            counters = await link.stats()
        except (LaunchError, OSError):
            counters = {}
    networks = _networks(container.record.pid) if counters else None
    return view(container, counters, networks, memory=parts.host.memory, cpus=parts.host.limits.cpus,
                system=_system_cpu() if counters else 0, version=parts.host.cgroup_version)


_NO_CPU: Json = {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
                 "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0}}


def view(container: Container, found: Json, networks: Json | None, *, memory: int, cpus: int, system: int,
         version: int) -> Json:
    """Engine API v1.51, ContainerStatsResponse. Empty counters mean that it doesn't run.

    What the two `version`s of cgroups leave out, and how they spell it, follows moby (daemon/stats_unix.go).
    """
    base: Json = {"name": f"/{container.name}", "id": container.id,
                  "read": times.rfc3339(times.now()) if found else times.NEVER, "num_procs": 0, "storage_stats": {}}
    if not found:
        return {**base, "pids_stats": {}, "cpu_stats": _NO_CPU, "memory_stats": {},
                "blkio_stats": _blkio({}, None, lower=True)}
    counted = {**base, "pids_stats": _pids(found["pids"], version), "cpu_stats": _cpu(found["cpu"], cpus, system),
               "memory_stats": _memory(found["memory"], memory), "blkio_stats": _blkio(
                   found["io"], [] if version == 1 else None, lower=version == 2)}
    return {**counted, "networks": networks} if networks else counted


def _pids(found: Json, version: int) -> Json:
    """No limit is left out in version 1, and the largest number in version 2."""
    limit = found.get("limit", -1)
    if limit > 0:
        return {"current": found["current"], "limit": limit}
    return {"current": found["current"], **({"limit": 2**64 - 1} if version == 2 else {})}


def _cpu(found: Json, cpus: int, system: int) -> Json:
    usage: Json = {"total_usage": found["usage"], "usage_in_kernelmode": found["system"],
                   "usage_in_usermode": found["user"]}
    if found["percpu"]:
        usage["percpu_usage"] = found["percpu"]
    return {"cpu_usage": usage, "system_cpu_usage": system, "online_cpus": cpus,
            "throttling_data": {"periods": found["periods"], "throttled_periods": found["throttled_periods"],
                                "throttled_time": found["throttled"]}}


def _memory(found: Json, machine: int) -> Json:
    limit = found["limit"]
    return {"usage": found["usage"], "max_usage": found["max_usage"],
            "limit": machine if limit < 0 or limit > machine else limit, "stats": found["stat"],
            **({"failcnt": found["failcnt"]} if found["failcnt"] else {})}


_BLKIO = ("io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive",
          "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive")


def _blkio(found: Json, empty: list[Json] | None, *, lower: bool) -> Json:
    """Operations are spelled `Read` in version 1, as the kernel does, and `read` in version 2."""
    counted = {"io_service_bytes_recursive": found.get("bytes"), "io_serviced_recursive": found.get("ios")}
    return {name: [{**row, "op": row["op"].lower() if lower else row["op"]} for row in counted.get(name) or ()] or empty
            for name in _BLKIO}


def _networks(pid: int) -> Json | None:
    """Counters of the interfaces in the container's network namespace."""
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()[2:]
    except OSError:
        return None
    found: Json = {}
    for line in lines:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        if name.strip() == "lo" or len(numbers) < 12:
            continue
        values = [int(number) for number in numbers]
        found[name.strip()] = {
            "rx_bytes": values[0], "rx_packets": values[1], "rx_errors": values[2], "rx_dropped": values[3],
            "tx_bytes": values[8], "tx_packets": values[9], "tx_errors": values[10], "tx_dropped": values[11]}
    return found


def _system_cpu() -> int:
    """The machine's CPU time so far in ns (moby: the sum of user nice system idle iowait irq softirq)."""
    with open("/proc/stat", encoding="ascii") as file:
        numbers = [int(word) for word in file.readline().split()[1:8]]
    return sum(numbers) * (1_000_000_000 // _TICK)
