"""What this machine's control groups can bound, for `docker info` and its warnings."""

from __future__ import annotations

import os
from dataclasses import dataclass

ROOT = "/sys/fs/cgroup"
# For version 1: the root group's file that shows it. Version 2: the controller, and a file that other groups than the
# root have where the kernel can do it.
_FILES = {"memory": ("memory/memory.limit_in_bytes", "memory", ""),
          "swap": ("memory/memory.memsw.limit_in_bytes", "memory", "memory.swap.max"),
          "cpu_shares": ("cpu/cpu.shares", "cpu", ""), "cpu_quota": ("cpu/cpu.cfs_quota_us", "cpu", "cpu.max"),
          "cpuset": ("cpuset/cpuset.cpus", "cpuset", ""), "pids": ("pids/cgroup.procs", "pids", ""),
          "oom_kill_disable": ("memory/memory.oom_control", "", "")}


@dataclass(frozen=True, slots=True)
class Controls:
    memory: bool
    swap: bool
    cpu_shares: bool
    cpu_quota: bool
    cpuset: bool
    pids: bool
    oom_kill_disable: bool  # version 1 only

    @classmethod
    def read(cls, root: str = ROOT) -> Controls:
        try:
            with open(f"{root}/cgroup.controllers", encoding="ascii") as file:
                controllers = file.read().split()
        except FileNotFoundError:
            return cls(**{name: os.path.exists(f"{root}/{file}") for name, (file, _, _) in _FILES.items()})
        group = next((entry.path for entry in os.scandir(root) if entry.is_dir()
                      and os.path.exists(f"{entry.path}/memory.max")), None)
        return cls(**{name: controller in controllers and _shown(group, file)
                      for name, (_, controller, file) in _FILES.items()})

    def warnings(self, *, version: int) -> list[str]:
        """Docker's words (daemon/info_unix.go has the list)."""
        lacking = [("memory limit", self.memory), ("swap limit", self.swap), ("cpu cfs period", self.cpu_quota),
                   ("cpu cfs quota", self.cpu_quota), ("cpu shares", self.cpu_shares), ("cpuset", self.cpuset)]
        if version == 1:
            lacking.insert(2, ("oom kill disable", self.oom_kill_disable))
        return [f"WARNING: No {what} support" for what, there in lacking if not there]


def _shown(group: str | None, file: str) -> bool:
    """Without any group below the root nothing can be seen, and the kernel is taken to have what is common."""
    return not file or group is None or os.path.exists(f"{group}/{file}")
