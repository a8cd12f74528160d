"""What a sample of `stats` says, in numbers: the same for cgroups v1 and v2, Kist's server and Docker's. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    JSON = dict[str, Any]


def cpu_percent(now: JSON, before: JSON | None) -> float:
    """The share of the CPUs between two samples; 100 is one CPU."""
    late, early = now.get("cpu_stats") or {}, (before or {}).get("cpu_stats") or {}
    if not early:
        return 0.0
    used = late["cpu_usage"]["total_usage"] - early["cpu_usage"]["total_usage"]
    passed = late.get("system_cpu_usage", 0) - early.get("system_cpu_usage", 0)
    return float(used / passed * late.get("online_cpus", 1) * 100) if passed > 0 and used > 0 else 0.0


def memory_used(sample: JSON) -> int:
    """Bytes in use, without the page cache that could be given back (cgroup v1 and v2 name it each its way)."""
    memory = sample.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    usage = int(memory.get("usage", 0))
    return usage - cache if cache < usage else usage


def memory_limit(sample: JSON) -> int:
    """Bytes; the machine's memory where there is no limit."""
    return int((sample.get("memory_stats") or {}).get("limit", 0))


def network_bytes(sample: JSON, field: str) -> int:
    """`rx_bytes` or `tx_bytes` of all interfaces."""
    return sum(network.get(field, 0) for network in (sample.get("networks") or {}).values())


def block_bytes(sample: JSON, kind: str) -> int:
    """Bytes of `read` or `write` of all devices."""
    entries = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    return sum(entry["value"] for entry in entries if entry["op"].lower() == kind)


def processes(sample: JSON) -> int:
    return int((sample.get("pids_stats") or {}).get("current", 0))
