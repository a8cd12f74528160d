"""``linux.resources`` → files of version 1 (runtime-spec 1.2, config-linux.md#control-groups)."""

from __future__ import annotations

import errno
import os

from kist.runtime.cgroup.base import limit, read_int, write
from kist.runtime.errors import SpecError, StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# (section, field, controller, file): those that are one number in one file
NUMBERS = (
    ("cpu", "shares", "cpu", "cpu.shares"),
    ("cpu", "idle", "cpu", "cpu.idle"),
    ("cpu", "realtimePeriod", "cpu", "cpu.rt_period_us"),
    ("cpu", "realtimeRuntime", "cpu", "cpu.rt_runtime_us"),
    ("cpu", "cpus", "cpuset", "cpuset.cpus"),
    ("cpu", "mems", "cpuset", "cpuset.mems"),
    ("memory", "reservation", "memory", "memory.soft_limit_in_bytes"),
    ("memory", "kernelTCP", "memory", "memory.kmem.tcp.limit_in_bytes"),
    ("memory", "swappiness", "memory", "memory.swappiness"),
    ("pids", "limit", "pids", "pids.max"),
    ("blockIO", "leafWeight", "blkio", "blkio.leaf_weight"),
    ("network", "classID", "net_cls", "net_cls.classid"),
)
THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)


def apply(paths: dict[str, str], resources: dict[str, Any]) -> None:
    for section, field, controller, file in NUMBERS:
        value = (resources.get(section) or {}).get(field)
        if value is None or value == "" or (field in _ZERO_IS_UNSET and value == 0):
            continue
        if section == "pids" and value <= 0:
            value = "max"
        limit(f"{_dir(paths, controller, f'{section}.{field}')}/{file}", str(value))
    _quota(paths, resources.get("cpu") or {})
    _memory(paths, resources.get("memory") or {})
    _block(paths, resources.get("blockIO") or {})
    _rest(paths, resources)
    if resources.get("devices"):
        _devices(paths, resources["devices"])
    if resources.get("unified"):
        raise SpecError("linux.resources.unified: this machine's control groups are version 1")


_ZERO_IS_UNSET = {"shares", "realtimePeriod", "realtimeRuntime", "reservation", "kernelTCP", "leafWeight", "limit"}


def _dir(paths: dict[str, str], controller: str, wanted_for: str) -> str:
    if controller not in paths:
        raise StepError(f"set {wanted_for}: the control group controller {controller} is not mounted",
                        errno.ENOENT)
    return paths[controller]


def _quota(paths: dict[str, str], cpu: dict[str, Any]) -> None:
    """Burst and period are bounded by the quota in force, so the order depends on which way it goes."""
    period, quota, burst = cpu.get("period"), cpu.get("quota"), cpu.get("burst")
    if not period and not quota and burst is None:
        return
    base = _dir(paths, "cpu", "cpu.quota")
    if burst is not None and (not quota or quota > 0) and burst == 0:
        limit(f"{base}/cpu.cfs_burst_us", "0")
    period_later = False
    if period:
        try:
            write(f"{base}/cpu.cfs_period_us", str(period))
        except OSError as error:
            if error.errno != errno.EINVAL or not quota:
                limit(f"{base}/cpu.cfs_period_us", str(period))
            period_later = True
    if quota:
        limit(f"{base}/cpu.cfs_quota_us", str(quota))
    if period_later:
        limit(f"{base}/cpu.cfs_period_us", str(period))
    if burst:
        limit(f"{base}/cpu.cfs_burst_us", str(burst))


def _memory(paths: dict[str, str], memory: dict[str, Any]) -> None:
    """memory.memsw counts memory and swap, and may never be below memory: raise it first, lower it last."""
    limit_bytes, swap = memory.get("limit"), memory.get("swap")
    if limit_bytes or swap:
        base = _dir(paths, "memory", "memory.limit")
        if limit_bytes == -1 and not swap:
            swap = -1
        both = f"{base}/memory.memsw.limit_in_bytes"
        if swap and not os.path.exists(both):
            if swap != -1 and swap != limit_bytes:
                raise StepError("set memory.swap: this kernel does not account swap", errno.ENOENT)
            swap = None
        current = read_int(both, -1)
        swap_first = swap and limit_bytes and (swap == -1 or (0 <= current < swap))
        order = [("memory.limit_in_bytes", limit_bytes), ("memory.memsw.limit_in_bytes", swap)]
        for file, value in reversed(order) if swap_first else order:
            if value:
                _limit_memory(base, file, value)
    if memory.get("disableOOMKiller"):
        limit(f"{_dir(paths, 'memory', 'memory.disableOOMKiller')}/memory.oom_control", "1")
    if memory.get("useHierarchy") is False:
        raise SpecError("linux.resources.memory.useHierarchy: kernels since 5.11 always use the hierarchy")


def _limit_memory(base: str, file: str, value: int) -> None:
    try:
        write(f"{base}/{file}", str(value))
    except OSError as error:
        if error.errno == errno.EBUSY:
            usage = read_int(f"{base}/memory.usage_in_bytes")
            raise StepError(f"unable to set memory limit to {value} (current usage: {usage}, peak usage: "
                            f"{read_int(f'{base}/memory.max_usage_in_bytes')})", errno.EBUSY) from None
        limit(f"{base}/{file}", str(value))


def _block(paths: dict[str, str], block: dict[str, Any]) -> None:
    if not block:
        return
    base = _dir(paths, "blkio", "blockIO")
    weight_file = "blkio.bfq.weight" if os.path.exists(f"{base}/blkio.bfq.weight") else "blkio.weight"
    if block.get("weight"):
        limit(f"{base}/{weight_file}", str(block["weight"]))
    for entry in block.get("weightDevice") or []:
        device = f"{entry['major']}:{entry['minor']}"
        if entry.get("weight"):
            limit(f"{base}/{weight_file}_device", f"{device} {entry['weight']}")
        if entry.get("leafWeight"):
            limit(f"{base}/blkio.leaf_weight_device", f"{device} {entry['leafWeight']}")
    for field, file in THROTTLES:
        for entry in block.get(field) or []:
            limit(f"{base}/{file}", f"{entry['major']}:{entry['minor']} {entry['rate']}")


def _rest(paths: dict[str, str], resources: dict[str, Any]) -> None:
    for entry in resources.get("hugepageLimits") or []:
        base = _dir(paths, "hugetlb", "hugepageLimits")
        limit(f"{base}/hugetlb.{entry['pageSize']}.limit_in_bytes", str(entry["limit"]))
        if os.path.exists(f"{base}/hugetlb.{entry['pageSize']}.rsvd.limit_in_bytes"):
            limit(f"{base}/hugetlb.{entry['pageSize']}.rsvd.limit_in_bytes", str(entry["limit"]))
    for entry in (resources.get("network") or {}).get("priorities") or []:
        base = _dir(paths, "net_prio", "network.priorities")
        limit(f"{base}/net_prio.ifpriomap", f"{entry['name']} {entry['priority']}")
    for device, entry in (resources.get("rdma") or {}).items():
        limit(f"{_dir(paths, 'rdma', 'rdma')}/rdma.max", rdma_line(device, entry))


def rdma_line(device: str, entry: dict[str, int]) -> str:
    words = [device]
    if entry.get("hcaHandles") is not None:
        words.append(f"hca_handle={entry['hcaHandles']}")
    if entry.get("hcaObjects") is not None:
        words.append(f"hca_object={entry['hcaObjects']}")
    return " ".join(words)


def _devices(paths: dict[str, str], rules: list[dict[str, Any]]) -> None:
    """The list in the order given: ``devices.deny`` "a" forbids all, ``devices.allow`` opens single ones."""
    base = _dir(paths, "devices", "devices")
    for rule in rules:
        word = "allow" if rule.get("allow") else "deny"
        limit(f"{base}/devices.{word}", device_line(rule))


def device_line(rule: dict[str, Any]) -> str:
    kind = rule.get("type") or "a"
    if kind == "a" and rule.get("major") is None and rule.get("minor") is None:
        return "a" if rule.get("access") in (None, "", "rwm") else f"a *:* {rule['access']}"
    numbers = ":".join("*" if number is None or number < 0 else str(number)
                       for number in (rule.get("major"), rule.get("minor")))
    return f"{kind} {numbers} {rule.get('access') or 'rwm'}"
