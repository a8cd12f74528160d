"""HostConfig's limits → OCI `linux.resources` (runtime-spec 1.2, config-linux.md#control-groups)."""

from __future__ import annotations

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
_THROTTLES = {
    "BlkioDeviceReadBps": "throttleReadBpsDevice",
    "BlkioDeviceWriteBps": "throttleWriteBpsDevice",
    "BlkioDeviceReadIOps": "throttleReadIOPSDevice",
    "BlkioDeviceWriteIOps": "throttleWriteIOPSDevice",
}
CPU_PERIOD = 100_000  # µs; what `--cpus` is counted in


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
    for field, key in _THROTTLES.items():
        for entry in host.get(field) or ():
            major, minor = numbers[entry["Path"]]
            rule = {"major": major, "minor": minor, "rate": entry["Rate"]}
            found.setdefault("blockIO", {}).setdefault(key, []).append(rule)
    for entry in host.get("BlkioWeightDevice") or ():
        major, minor = numbers[entry["Path"]]
        rule = {"major": major, "minor": minor, "weight": entry["Weight"]}
        found.setdefault("blockIO", {}).setdefault("weightDevice", []).append(rule)
