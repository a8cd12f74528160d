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
_OPS = ("Read", "Write")


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
                system=_system_cpu() if counters else 0)


_NO_CPU: Json = {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
                 "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0}}


def view(container: Container, found: Json, networks: Json | None, *, memory: int, cpus: int, system: int) -> Json:
    """Engine API v1.51, ContainerStatsResponse. Empty counters mean that it doesn't run."""
    base: Json = {"name": f"/{container.name}", "id": container.id,
                  "read": times.rfc3339(times.now()) if found else times.NEVER, "num_procs": 0, "storage_stats": {}}
    if not found:
        return {**base, "pids_stats": {}, "cpu_stats": _NO_CPU, "memory_stats": {}, "blkio_stats": _blkio({})}
    counted = {**base, "pids_stats": _pids(found["pids"]), "cpu_stats": _cpu(found["cpu"], cpus, system),
               "memory_stats": _memory(found["memory"], memory), "blkio_stats": _blkio(found["io"])}
    return {**counted, "networks": networks} if networks else counted


def _pids(found: Json) -> Json:
    limit = found.get("limit", -1)
    return {"current": found["current"], **({"limit": limit} if limit > 0 else {"limit": 2**64 - 1})}


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
    return {"usage": found["usage"], "max_usage": found["max_usage"], "failcnt": found["failcnt"],
            "limit": machine if limit < 0 or limit > machine else limit, "stats": found["stat"]}


def _blkio(found: Json) -> Json:
    def rows(key: str) -> list[Json] | None:
        given = [{"major": row["major"], "minor": row["minor"], "op": row["op"].lower(), "value": row["value"]}
                 for row in found.get(key, ()) if row["op"] in _OPS]
        return given or None

    return {"io_service_bytes_recursive": rows("bytes"), "io_serviced_recursive": rows("ios"),
            "io_queue_recursive": None, "io_service_time_recursive": None, "io_wait_time_recursive": None,
            "io_merged_recursive": None, "io_time_recursive": None, "sectors_recursive": None}


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
