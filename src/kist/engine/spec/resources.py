"""HostConfig's limits → OCI `linux.resources` (runtime-spec 1.2, config-linux.md#control-groups)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

# HostConfig field -> (OCI section, key); a zero or missing value means "not set".
_PLAIN: dict[str, tuple[str, str]] = {
    "Memory": ("memory", "limit"),
    "MemoryReservation": ("memory", "reservation"),
    "MemorySwap": ("memory", "swap"),
    "CpuShares": ("cpu", "shares"),
    "CpuQuota": ("cpu", "quota"),
    "CpuPeriod": ("cpu", "period"),
    "CpuRealtimePeriod": ("cpu", "realtimePeriod"),
    "CpuRealtimeRuntime": ("cpu", "realtimeRuntime"),
    "CpusetCpus": ("cpu", "cpus"),
    "CpusetMems": ("cpu", "mems"),
    "BlkioWeight": ("blockIO", "weight"),
}
CPU_PERIOD = 100_000  # µs; what `--cpus` is counted in
THROTTLES = {
    "BlkioDeviceReadBps": "throttleReadBpsDevice",
    "BlkioDeviceWriteBps": "throttleWriteBpsDevice",
    "BlkioDeviceReadIOps": "throttleReadIOPSDevice",
    "BlkioDeviceWriteIOps": "throttleWriteIOPSDevice",
}


def resources(host: Json, numbers: dict[str, tuple[int, int]]) -> Json:
    """`numbers`: block device path → (major, minor), looked up by the caller."""
    found: Json = {}
    for field, (section, key) in _PLAIN.items():
        if host.get(field):
            found.setdefault(section, {})[key] = host[field]
    if host.get("NanoCpus"):
        found.setdefault("cpu", {}).update(
            period=CPU_PERIOD, quota=max(host["NanoCpus"] * CPU_PERIOD // 1_000_000_000, 1000))
    _special_memory(host, found)
    if (limit := host.get("PidsLimit")) is not None:
        found["pids"] = {"limit": limit if limit > 0 else -1}
    _block_io(host, numbers, found)
    return found


# What undoes a limit that was set, by version of the control groups; cpusets: see `without`.
_RESETS: dict[str, tuple[Json, Json]] = {
    "Memory": ({"memory": {"limit": -1, "swap": -1}},) * 2,
    "MemorySwap": ({"memory": {"swap": -1}},) * 2,
    "MemoryReservation": ({"memory": {"reservation": -1}}, {"unified": {"memory.low": "0"}}),
    "CpuShares": ({"cpu": {"shares": 1024}}, {"unified": {"cpu.weight": "100"}}),
    "CpuQuota": ({"cpu": {"quota": -1}},) * 2,
    "CpuPeriod": ({"cpu": {"period": CPU_PERIOD}},) * 2,
    "NanoCpus": ({"cpu": {"quota": -1, "period": CPU_PERIOD}},) * 2,
    "PidsLimit": ({"pids": {"limit": -1}},) * 2,
    "BlkioWeight": ({"blockIO": {"weight": 100}}, {"unified": {"io.weight": "default 100"}}),
}
REMOVABLE = (*_RESETS, "CpusetCpus", "CpusetMems")


def without(found: Json, removed: Iterable[str], version: int, cpus: str, nodes: str) -> Json:
    """`found`, and what lifts the limits `removed`; `cpus` and `nodes` are all there are."""
    for name in removed:
        if name == "CpusetCpus":
            undone: Json = {"cpu": {"cpus": cpus}}
        elif name == "CpusetMems":
            undone = {"cpu": {"mems": nodes}}
        else:
            undone = _RESETS[name][version - 1]
        for section, values in undone.items():
            found[section] = {**values, **found.get(section, {})}
    return found


def _special_memory(host: Json, found: Json) -> None:
    if host.get("Memory") and not host.get("MemorySwap"):
        # Docker: memory without a swap limit means as much swap again.
        found["memory"]["swap"] = host["Memory"] * 2
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and swappiness != -1:
        found.setdefault("memory", {})["swappiness"] = swappiness
    if host.get("OomKillDisable"):
        found.setdefault("memory", {})["disableOOMKiller"] = True


def _block_io(host: Json, numbers: dict[str, tuple[int, int]], found: Json) -> None:
    for field, key in THROTTLES.items():
        for entry in host.get(field) or ():
            major, minor = numbers[entry["Path"]]
            rule = {"major": major, "minor": minor, "rate": entry["Rate"]}
            found.setdefault("blockIO", {}).setdefault(key, []).append(rule)
    for entry in host.get("BlkioWeightDevice") or ():
        major, minor = numbers[entry["Path"]]
        rule = {"major": major, "minor": minor, "weight": entry["Weight"]}
        found.setdefault("blockIO", {}).setdefault("weightDevice", []).append(rule)
