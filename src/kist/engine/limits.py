"""The checks of limits, in Docker's words (facts of moby 28, daemon_unix.go), one table per kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kist.engine.spec.defaults import RLIMITS
from kist.errors import InvalidParameter

Json = dict[str, Any]
MINIMUM_MEMORY = 6 << 20


@dataclass(frozen=True, slots=True)
class Machine:
    """What limits are measured against."""

    cpus: int
    online_cpus: frozenset[int]
    memory_nodes: frozenset[int]
    realtime: bool = False  # its control groups have real-time run times
    block_weights: bool = True  # … and weights of block I/O
    selinux: bool = False

    @property
    def cpu_list(self) -> str:
        return format_set(self.online_cpus)


_Check = Callable[[Json, Machine], bool]

# (holds → refused with this text). {field} names are HostConfig's, plus cpus.
_RULES: tuple[tuple[_Check, str], ...] = (
    (lambda h, m: 0 != h["Memory"] < MINIMUM_MEMORY, "Minimum memory limit allowed is 6MB"),
    (lambda h, m: h["Memory"] > 0 and 0 < h["MemorySwap"] < h["Memory"],
     "Minimum memoryswap limit should be larger than memory limit, see usage"),
    (lambda h, m: h["Memory"] == 0 and h["MemorySwap"] > 0,
     "You should always set the Memory limit when using Memoryswap limit, see usage"),
    (lambda h, m: h["MemorySwappiness"] is not None and not -1 <= h["MemorySwappiness"] <= 100,
     "Invalid value: {MemorySwappiness}, valid memory swappiness range is 0-100"),
    (lambda h, m: 0 != h["MemoryReservation"] < MINIMUM_MEMORY, "Minimum memory reservation allowed is 6MB"),
    (lambda h, m: 0 < h["Memory"] < h["MemoryReservation"],
     "Minimum memory limit can not be less than memory reservation limit, see usage"),
    (lambda h, m: h["NanoCpus"] != 0 and h["CpuPeriod"] != 0,
     "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
    (lambda h, m: h["NanoCpus"] != 0 and h["CpuQuota"] != 0,
     "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    (lambda h, m: not 0 <= h["NanoCpus"] <= m.cpus * 1_000_000_000 or 0 < h["NanoCpus"] < 10_000_000,
     "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"),
    (lambda h, m: h["CpuPeriod"] != 0 and not 1000 <= h["CpuPeriod"] <= 1_000_000,
     "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    (lambda h, m: 0 < h["CpuQuota"] < 1000, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    (lambda h, m: (h["CpuRealtimePeriod"] != 0 or h["CpuRealtimeRuntime"] != 0) and not m.realtime,
     "Your kernel does not support CPU real-time scheduler"),
    (lambda h, m: 0 != h["CpuRealtimePeriod"] < h["CpuRealtimeRuntime"],
     "cpu real-time runtime cannot be higher than cpu real-time period"),
    (lambda h, m: h["CpuShares"] < 0,
     "invalid CPU shares ({CpuShares}): value must be a positive integer"),
    (lambda h, m: h["CpuShares"] == 1, "the minimum allowed cpu-shares is 2"),
    (lambda h, m: h["MemorySwap"] < -1, "Invalid value: {MemorySwap}, valid memory swap is -1 (unlimited) or a size"),
    (lambda h, m: h["Memory"] < 0, "Minimum memory limit allowed is 6MB"),
    (lambda h, m: h["BlkioWeight"] != 0 and not 10 <= h["BlkioWeight"] <= 1000,
     "Range of blkio weight is from 10 to 1000"),
    (lambda h, m: h["ShmSize"] < 0, "SHM size can not be less than 0"),
    (lambda h, m: not -1000 <= h["OomScoreAdj"] <= 1000,
     "Invalid value {OomScoreAdj}, range for oom score adj is [-1000, 1000]"),
)


def check_limits(host: Json, machine: Machine) -> None:
    for refused, text in _RULES:
        if refused(host, machine):
            raise InvalidParameter(text.format(**host, cpus=machine.cpus))
    _check_set(host["CpusetCpus"], machine.online_cpus, "cpuset cpus",
               "Requested CPUs are not available - requested {asked}, available: {there}")
    _check_set(host["CpusetMems"], machine.memory_nodes, "cpuset mems",
               "Requested memory nodes are not available - requested {asked}, available: {there}")
    for entry in host["BlkioWeightDevice"] or ():
        if not 10 <= entry["Weight"] <= 1000:
            raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    for entry in host["Ulimits"] or ():
        if entry["Name"] not in RLIMITS:
            raise InvalidParameter(f"invalid ulimit type: {entry['Name']}")
        soft, hard = entry["Soft"], entry["Hard"]
        if hard != -1 and (soft > hard or soft == -1):
            raise InvalidParameter(f"ulimit soft limit must be less than or equal to hard limit: "
                                   f"{soft} > {hard}")


def parse_set(text: str) -> frozenset[int]:
    """`0-2,7` → {0, 1, 2, 7}; raises ValueError."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last) if dash else int(first)
        if not 0 <= low <= high < 8192:
            raise ValueError(part)
        found.update(range(low, high + 1))
    return frozenset(found)


def format_set(numbers: frozenset[int]) -> str:
    """{0, 1, 2, 7} → `0-2,7`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _check_set(asked: str, there: frozenset[int], what: str, text: str) -> None:
    if not asked:
        return
    try:
        wanted = parse_set(asked)
    except ValueError:
        raise InvalidParameter(f"Invalid value {asked} for {what}: invalid format: {asked}") from None
    if not wanted <= there:
        raise InvalidParameter(text.format(asked=asked, there=format_set(there)))
