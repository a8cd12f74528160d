"""``linux.resources`` → files of version 2 (runtime-spec 1.2, config-linux.md#control-groups).

The specification speaks version 1's language; the translation is that of runc and crun.
"""

from __future__ import annotations

import errno
import os

from kist.runtime.cgroup.base import limit, read, read_int
from kist.runtime.cgroup.v1_limits import rdma_line
from kist.runtime.errors import SpecError, StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

THROTTLES = (("throttleReadBpsDevice", "rbps"), ("throttleWriteBpsDevice", "wbps"),
             ("throttleReadIOPSDevice", "riops"), ("throttleWriteIOPSDevice", "wiops"))
ONLY_V1 = (("cpu", "realtimePeriod"), ("cpu", "realtimeRuntime"), ("memory", "swappiness"), ("memory", "kernelTCP"),
           ("memory", "disableOOMKiller"), ("network", "classID"), ("network", "priorities"))


def apply(directory: str, resources: dict[str, Any]) -> None:
    for section, field in ONLY_V1:
        if (resources.get(section) or {}).get(field):
            raise SpecError(f"linux.resources.{section}.{field}: not available with cgroup version 2")
    _cpu(directory, resources.get("cpu") or {})
    _memory(directory, resources.get("memory") or {})
    pids = (resources.get("pids") or {}).get("limit")
    if pids:
        limit(f"{directory}/pids.max", str(pids) if pids > 0 else "max")
    _block(directory, resources.get("blockIO") or {})
    for entry in resources.get("hugepageLimits") or []:
        limit(f"{directory}/hugetlb.{entry['pageSize']}.max", str(entry["limit"]))
        if os.path.exists(f"{directory}/hugetlb.{entry['pageSize']}.rsvd.max"):
            limit(f"{directory}/hugetlb.{entry['pageSize']}.rsvd.max", str(entry["limit"]))
    for device, rdma in (resources.get("rdma") or {}).items():
        limit(f"{directory}/rdma.max", rdma_line(device, rdma))
    for file, text in (resources.get("unified") or {}).items():
        if "/" in file or file.startswith("."):
            raise SpecError(f"linux.resources.unified: {file!r} is not the name of a file")
        for line in text.splitlines() or [""]:
            limit(f"{directory}/{file}", line)


def weight(shares: int) -> int:
    """cpu.shares 2…262144 → cpu.weight 1…10000."""
    return 1 + (max(2, min(shares, 262144)) - 2) * 9999 // 262142


def io_weight(weight_v1: int) -> int:
    """blkio.weight 10…1000 → io.weight 1…10000."""
    return 1 + (max(10, min(weight_v1, 1000)) - 10) * 9999 // 990


def _cpu(directory: str, cpu: dict[str, Any]) -> None:
    if cpu.get("idle") is not None:
        limit(f"{directory}/cpu.idle", str(cpu["idle"]))
    if cpu.get("shares") and not cpu.get("idle"):
        limit(f"{directory}/cpu.weight", str(weight(cpu["shares"])))
    quota, period, burst = cpu.get("quota"), cpu.get("period"), cpu.get("burst")
    if burst == 0:
        limit(f"{directory}/cpu.max.burst", "0")
    if quota or period:
        in_force = read(f"{directory}/cpu.max").split()[0]
        quota_text = {True: str(quota), False: "max"}[quota > 0] if quota else in_force
        limit(f"{directory}/cpu.max", f"{quota_text} {period}" if period else quota_text)
    if burst:
        limit(f"{directory}/cpu.max.burst", str(burst))
    for field in ("cpus", "mems"):
        if cpu.get(field):
            limit(f"{directory}/cpuset.{field}", cpu[field])


def _memory(directory: str, memory: dict[str, Any]) -> None:
    """``swap`` is memory and swap together there, swap alone here."""
    limit_bytes, swap, reservation = memory.get("limit"), memory.get("swap"), memory.get("reservation")
    if limit_bytes and limit_bytes > 0 and memory.get("checkBeforeUpdate"):
        usage = read_int(f"{directory}/memory.current")
        if usage > limit_bytes:
            raise StepError(f"unable to set memory limit to {limit_bytes} (current usage: {usage})", errno.EBUSY)
    if swap:
        if swap > 0:
            if not limit_bytes or limit_bytes < 0:
                raise SpecError("linux.resources.memory.swap: needs a memory limit")
            if swap < limit_bytes:
                raise SpecError("linux.resources.memory.swap: it includes memory, so it can't be below limit")
        text = "max" if swap < 0 else str(swap - limit_bytes)
        if os.path.exists(f"{directory}/memory.swap.max"):
            limit(f"{directory}/memory.swap.max", text)
        elif text not in ("max", "0"):
            raise StepError("set memory.swap: this kernel does not account swap", errno.ENOENT)
    elif limit_bytes == -1 and os.path.exists(f"{directory}/memory.swap.max"):
        limit(f"{directory}/memory.swap.max", "max")
    if limit_bytes:
        limit(f"{directory}/memory.max", str(limit_bytes) if limit_bytes > 0 else "max")
    if reservation:
        limit(f"{directory}/memory.low", str(reservation) if reservation > 0 else "max")


def _block(directory: str, block: dict[str, Any]) -> None:
    if not block:
        return
    if block.get("leafWeight"):
        raise SpecError("linux.resources.blockIO.leafWeight: not available with cgroup version 2")
    bfq = f"{directory}/io.bfq.weight"
    by_bfq = os.path.exists(bfq)
    if block.get("weight"):
        if by_bfq:
            limit(bfq, str(block["weight"]))
        else:
            limit(f"{directory}/io.weight", f"default {io_weight(block['weight'])}")
    for entry in block.get("weightDevice") or []:
        value = entry.get("weight")
        if not value:
            continue
        device = f"{entry['major']}:{entry['minor']}"
        limit(bfq if by_bfq else f"{directory}/io.weight", f"{device} {value if by_bfq else io_weight(value)}")
    for field, key in THROTTLES:
        for entry in block.get(field) or []:
            limit(f"{directory}/io.max", f"{entry['major']}:{entry['minor']} {key}={entry['rate'] or 'max'}")
