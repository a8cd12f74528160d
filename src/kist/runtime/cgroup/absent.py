"""No control group: none is wanted, or a user without privilege, to whom none was delegated, may make none. As with
the peers the container runs all the same, in the groups of whoever started it, unless limits are asked for."""

from __future__ import annotations

import errno

from kist.runtime.cgroup.base import Cgroup, read
from kist.runtime.errors import StepError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Absent(Cgroup):
    def create(self) -> None:
        """Nothing."""

    def exists(self) -> bool:
        return False

    def clone_fd(self) -> int | None:
        return None

    def join_self(self) -> None:
        """Stay where the creator is."""

    def join(self, pid: int) -> None:
        """The same."""

    def apply(self, resources: dict[str, Any]) -> None:
        """The device rules are not missed: such a user can make no node, and opens what the host lets him."""
        wanted = [name for name, value in resources.items() if name != "devices" and _asks(value)]
        if wanted:
            raise self._refusal(f"limit {', '.join(wanted)}")

    def freeze(self) -> None:
        raise self._refusal("freeze the container")

    def thaw(self) -> None:
        raise self._refusal("thaw the container")

    def frozen(self) -> bool:
        return False

    def pids(self) -> list[int]:
        raise self._refusal("list the processes")

    def stats(self) -> dict[str, Any]:
        raise self._refusal("read the statistics")

    def oom_kills(self) -> int:
        return 0

    def paths(self) -> dict[str, str]:
        """The creator's, where the container stays (cgroups(7), /proc/PID/cgroup)."""
        found = {}
        for line in read("/proc/self/cgroup").splitlines():
            _number, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                point = self.layout.v1.get(controller) if controller else self.layout.v2
                if point:
                    found[controller] = point + path
        return found

    def remove(self) -> None:
        """Nothing."""

    @staticmethod
    def _refusal(what: str) -> StepError:
        return StepError(f"{what}: the container has no control group (its user may make none, or none was wanted)",
                         errno.EPERM)


def _asks(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_asks(item) for item in value.values())
    return value not in (None, 0, "", [], False)
