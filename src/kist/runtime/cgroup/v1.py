"""Control groups, version 1: one hierarchy per controller (kernel: admin-guide/cgroup-v1).

Moving *another* process takes a machine-wide lock whose first taker waits for an RCU grace period (13 ms
measured); a process of one thread that writes "0" into ``tasks`` moves itself without it (0.03 ms).
"""

from __future__ import annotations

import errno
import os

from kist.runtime.cgroup import v1_limits, v1_stats
from kist.runtime.cgroup.base import Cgroup, limit, make_dirs, pids_below, read, remove_tree, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class V1(Cgroup):
    version = 1

    def paths(self) -> dict[str, str]:
        return {controller: point + self.path for controller, point in self.layout.v1.items()}

    def _dir(self, controller: str) -> str | None:
        point = self.layout.v1.get(controller)
        return point + self.path if point else None

    def _points(self) -> list[str]:
        """Controllers may share one hierarchy (cpu,cpuacct)."""
        return list(dict.fromkeys(self.layout.v1.values()))

    def exists(self) -> bool:
        return any(os.path.isdir(point + self.path) for point in self._points())

    def create(self) -> None:
        self.made = True
        cpuset = self.layout.v1.get("cpuset")
        for point in self._points():
            made = make_dirs(point, self.path)
            if point == cpuset:
                for directory in made:
                    _inherit(directory)

    def clone_fd(self) -> int | None:
        return None

    def join_self(self) -> None:
        for point in self._points():
            write(f"{point}{self.path}/tasks", "0")

    def join(self, pid: int) -> None:
        for point in self._points():
            write(f"{point}{self.path}/cgroup.procs", str(pid))

    def apply(self, resources: dict[str, Any]) -> None:
        v1_limits.apply(self.paths(), resources)

    def freeze(self) -> None:
        self._freezer("FROZEN")

    def thaw(self) -> None:
        self._freezer("THAWED")

    def _freezer(self, state: str) -> None:
        directory = self._dir("freezer")
        if directory is None:
            raise OSError(errno.ENOSYS, "the freezer controller is not mounted")
        for attempt in range(1000):
            limit(f"{directory}/freezer.state", state)
            # FREEZING may hang while a process is being born: writing again moves it on (runc does the same)
            if read(f"{directory}/freezer.state").strip() == state:
                return
            os.sched_yield()
            if attempt > 50:
                import select
                select.select([], [], [], 0.002)
        if state == "FROZEN":
            write(f"{directory}/freezer.state", "THAWED")
        raise OSError(errno.EBUSY, f"the group does not become {state}", directory)

    def frozen(self) -> bool:
        directory = self._dir("freezer")
        if directory is None:
            return False
        try:
            return read(f"{directory}/freezer.state").strip() in ("FROZEN", "FREEZING")
        except OSError:
            return False

    def pids(self) -> list[int]:
        for controller in ("freezer", "devices", "memory", "pids", "name=systemd"):
            directory = self._dir(controller)
            if directory is not None:
                return pids_below(directory)
        return []

    def stats(self) -> dict[str, Any]:
        return v1_stats.stats(self.paths())

    def oom_kills(self) -> int:
        return v1_stats.oom_kills(self.paths())

    def remove(self) -> None:
        for point in self._points():
            remove_tree(point + self.path)


def _inherit(directory: str) -> None:
    """A new cpuset is empty, and an empty one takes no process."""
    parent = directory.rpartition("/")[0]
    for name in ("cpuset.cpus", "cpuset.mems"):
        try:
            value = read(f"{parent}/{name}").strip()
            if not value:
                _inherit(parent)
                value = read(f"{parent}/{name}").strip()
            write(f"{directory}/{name}", value)
        except FileNotFoundError:
            return


