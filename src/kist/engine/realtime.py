"""Real-time run time for the groups above a container's (`cpu-rt-runtime` of the configuration, as dockerd has it).

A group may give its children no more than it has itself, and a new group has none (Linux,
Documentation/scheduler/sched-rt-group.rst). Control groups of version 1 only; version 2 has no such thing. Blocking.
"""

from __future__ import annotations

import os

CPU = "/sys/fs/cgroup/cpu"


def available() -> bool:
    """Whether this machine's control groups schedule real-time processes by groups."""
    return os.path.exists(f"{CPU}/cpu.rt_runtime_us")


def grant(parent: str, period: int, runtime: int, root: str = CPU) -> None:
    """Let the groups on the way to ``parent`` have ``runtime`` µs in each ``period`` µs; 0 leaves it as it is."""
    path = root
    for name in filter(None, parent.split("/")):
        path = f"{path}/{name}"
        os.makedirs(path, exist_ok=True)
        for file, value in (("cpu.rt_period_us", period), ("cpu.rt_runtime_us", runtime)):
            if value:
                _write(f"{path}/{file}", value)


def _write(path: str, value: int) -> None:
    with open(path, "r+", encoding="ascii") as file:
        if file.read().strip() == str(value):
            return
        file.seek(0)
        try:
            file.write(str(value))
            file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
