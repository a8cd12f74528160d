"""``events [--stats] [--interval 5s] ID``: what the container uses, and when memory ran out, as JSON lines."""

from __future__ import annotations

import sys

from kist.runtime import jsons
from kist.runtime.cli.common import one
from kist.runtime.cli.options import FLAG, STRING, Option, Usage, parse
from kist.runtime.state import STOPPED, Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def main(options: Parsed, words: list[str], log: Log) -> int:
    own = parse({"stats": Option("", FLAG), "interval": Option("", STRING)}, words)
    interval = duration(own.string("interval") or "5s")
    container = one(options, own.rest)
    container.may("events")
    if own.flag("stats"):
        _print("stats", container, figures(container.cgroup().stats()))
        return 0
    _follow(container, interval)
    return 0


def duration(text: str) -> float:
    """Go's form for one unit: 500ms, 5s, 1m."""
    for unit in ("ms", "s", "m", "h"):
        number = text.removesuffix(unit)
        if number != text:
            try:
                seconds = float(number) * _SECONDS[unit]
            except ValueError:
                break
            if not 0 < seconds < float("inf"):
                raise Usage("duration interval must be greater than 0")
            return seconds
    raise Usage(f"invalid duration {text!r}")


def _follow(container: Container, interval: float) -> None:
    """Until the container ends: its pidfd says when, so nothing is polled for but the figures asked for."""
    import gc
    import os
    import select
    import time

    from kist.linux.pidfd import pidfd_open

    gc.enable()  # runtime/start.py: this may take days
    group = container.cgroup()
    ooms = group.oom_kills()
    pidfd = pidfd_open(container.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    due = time.monotonic()
    while container.status() != STOPPED:
        if time.monotonic() >= due:
            _print("stats", container, figures(group.stats()))
            due += interval
        if poll.poll(max(0, min(interval, 1.0, due - time.monotonic())) * 1000):
            break
        now = group.oom_kills()
        if now > ooms:
            _print("oom", container, None)
        ooms = now
    if group.oom_kills() > ooms:
        _print("oom", container, None)
    os.close(pidfd)


def _print(kind: str, container: Container, data: Any) -> None:
    event = {"type": kind, "id": container.id}
    if data is not None:
        event["data"] = data
    print(jsons.dumps(event))
    sys.stdout.flush()


def figures(stats: dict[str, Any]) -> dict[str, Any]:
    """The shape of runc's events, which monitoring agents read."""
    cpu, memory = stats["cpu"], stats["memory"]
    unlimited = (1 << 64) - 1
    blocks = {"ioServiceBytesRecursive": stats["io"]["bytes"], "ioServicedRecursive": stats["io"]["ios"]}
    return {
        "cpu": {"usage": {"total": cpu["usage"], "percpu": cpu["percpu"], "kernel": cpu["system"],
                          "user": cpu["user"]},
                "throttling": {"periods": cpu["periods"], "throttledPeriods": cpu["throttled_periods"],
                               "throttledTime": cpu["throttled"]}},
        "memory": {"cache": memory["cache"],
                   "usage": {"limit": memory["limit"] if memory["limit"] >= 0 else unlimited,
                             "usage": memory["usage"], "max": memory["max_usage"], "failcnt": memory["failcnt"]},
                   "swap": {"limit": max(memory["swap_limit"], 0), "usage": memory["swap"]},
                   "kernel": {"usage": memory["kernel"]}, "raw": memory["stat"]},
        "pids": {"current": stats["pids"]["current"], "limit": max(stats["pids"]["limit"], 0)},
        "blkio": blocks, "hugetlb": stats["hugetlb"],
    }
