"""What the version 1 controllers have counted, in the shape that both versions give (see `stats`)."""

from __future__ import annotations

from kist.runtime.cgroup.base import read, read_int, read_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TICK_NS = 10_000_000  # USER_HZ is 100 on every architecture that Linux exports it for
_UNLIMITED = 1 << 62


def stats(paths: dict[str, str]) -> dict[str, Any]:
    """``cpu`` times in nanoseconds, ``memory`` in bytes, limits -1 where there is none, ``io`` per device."""
    return {"cpu": _cpu(paths), "memory": _memory(paths), "pids": _pids(paths), "io": _io(paths),
            "hugetlb": {}, "oom_kills": oom_kills(paths)}


def _cpu(paths: dict[str, str]) -> dict[str, Any]:
    base = paths.get("cpuacct", "")
    ticks = read_table(f"{base}/cpuacct.stat")
    throttle = read_table(f"{paths.get('cpu', '')}/cpu.stat")
    try:
        percpu = [int(value) for value in read(f"{base}/cpuacct.usage_percpu").split()]
    except OSError:
        percpu = []
    return {"usage": read_int(f"{base}/cpuacct.usage"), "user": ticks.get("user", 0) * _TICK_NS,
            "system": ticks.get("system", 0) * _TICK_NS, "percpu": percpu,
            "periods": throttle.get("nr_periods", 0), "throttled_periods": throttle.get("nr_throttled", 0),
            "throttled": throttle.get("throttled_time", 0)}


def _limit(path: str) -> int:
    value = read_int(path, -1)
    return -1 if value >= _UNLIMITED else value


def _memory(paths: dict[str, str]) -> dict[str, Any]:
    base = paths.get("memory", "")
    table = read_table(f"{base}/memory.stat")
    return {"usage": read_int(f"{base}/memory.usage_in_bytes"), "max_usage": read_int(
                f"{base}/memory.max_usage_in_bytes"),
            "limit": _limit(f"{base}/memory.limit_in_bytes"), "failcnt": read_int(f"{base}/memory.failcnt"),
            "inactive_file": table.get("total_inactive_file", 0), "cache": table.get("total_cache", 0),
            "swap": table.get("total_swap", 0),
            "swap_limit": _limit(f"{base}/memory.memsw.limit_in_bytes"),
            "kernel": read_int(f"{base}/memory.kmem.usage_in_bytes"), "stat": table}


def _pids(paths: dict[str, str]) -> dict[str, int]:
    base = paths.get("pids", "")
    return {"current": read_int(f"{base}/pids.current"), "limit": read_int(f"{base}/pids.max", -1)}


def _io(paths: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    base = paths.get("blkio", "")
    return {"bytes": _entries(f"{base}/blkio.throttle.io_service_bytes_recursive"),
            "ios": _entries(f"{base}/blkio.throttle.io_serviced_recursive")}


def _entries(path: str) -> list[dict[str, Any]]:
    """Lines ``8:0 Read 4096``."""
    try:
        text = read(path)
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 3 and ":" in fields[0]:
            major, _, minor = fields[0].partition(":")
            found.append({"major": int(major), "minor": int(minor), "op": fields[1], "value": int(fields[2])})
    return found


def oom_kills(paths: dict[str, str]) -> int:
    return read_table(f"{paths.get('memory', '')}/memory.oom_control").get("oom_kill", 0)
