"""What version 2 has counted, in the shape of `v1_stats.stats`."""

from __future__ import annotations

from kist.runtime.cgroup.base import read, read_int, read_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IO = {"rbytes": ("bytes", "Read"), "wbytes": ("bytes", "Write"), "rios": ("ios", "Read"), "wios": ("ios", "Write")}


def stats(directory: str) -> dict[str, Any]:
    cpu = read_table(f"{directory}/cpu.stat")
    memory = read_table(f"{directory}/memory.stat")
    events = read_table(f"{directory}/memory.events")
    return {
        "cpu": {"usage": cpu.get("usage_usec", 0) * 1000, "user": cpu.get("user_usec", 0) * 1000,
                "system": cpu.get("system_usec", 0) * 1000, "percpu": [], "periods": cpu.get("nr_periods", 0),
                "throttled_periods": cpu.get("nr_throttled", 0),
                "throttled": cpu.get("throttled_usec", 0) * 1000},
        "memory": {"usage": read_int(f"{directory}/memory.current"),
                   "max_usage": read_int(f"{directory}/memory.peak"),
                   # moby daemon/stats_unix.go: the "oom" of memory.events
                   "limit": read_int(f"{directory}/memory.max", -1), "failcnt": events.get("oom", 0),
                   "inactive_file": memory.get("inactive_file", 0), "cache": memory.get("file", 0),
                   "swap": read_int(f"{directory}/memory.swap.current"),
                   "swap_limit": read_int(f"{directory}/memory.swap.max", -1),
                   "kernel": memory.get("kernel", 0), "stat": memory},
        "pids": {"current": read_int(f"{directory}/pids.current"), "limit": read_int(f"{directory}/pids.max", -1)},
        "io": _io(f"{directory}/io.stat"), "hugetlb": {}, "oom_kills": events.get("oom_kill", 0)}


def _io(path: str) -> dict[str, list[dict[str, Any]]]:
    """Lines ``8:0 rbytes=… wbytes=… rios=… wios=… …``."""
    found: dict[str, list[dict[str, Any]]] = {"bytes": [], "ios": []}
    try:
        text = read(path)
    except OSError:
        return found
    for line in text.splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for pair in pairs:
            key, _, value = pair.partition("=")
            if key in _IO:
                kind, operation = _IO[key]
                found[kind].append({"major": int(major), "minor": int(minor), "op": operation, "value": int(value)})
    return found
