"""Control groups, version 2: one tree (kernel: admin-guide/cgroup-v2).

A process is born in its group (clone3 with CLONE_INTO_CGROUP): nothing moves. A controller works in a group
only if every group above it hands it down in ``cgroup.subtree_control``.
"""

from __future__ import annotations

import errno
import os
import select

from kist.linux import bpf
from kist.runtime.cgroup import v2_limits, v2_stats
from kist.runtime.cgroup.base import (
    Cgroup,
    limit,
    make_dirs,
    pids_below,
    read,
    read_table,
    remove_tree,
    write,
)
from kist.runtime.cgroup.devices_bpf import program
from kist.runtime.errors import step_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # the same, without the enums: they take 3 ms to make


class V2(Cgroup):
    version = 2

    @property
    def directory(self) -> str:
        return (self.layout.v2 or "") + self.path

    def paths(self) -> dict[str, str]:
        return {"": self.directory}

    def exists(self) -> bool:
        return os.path.isdir(self.directory)

    def create(self) -> None:
        self.made = True
        top = self.layout.v2 or ""
        make_dirs(top, self.path)
        self._hand_down(top)

    def _hand_down(self, top: str) -> None:
        """Every controller that a group above has, for those below it, down to the parent."""
        current = top
        for part in [part for part in self.path.split("/") if part]:
            available = read(f"{current}/cgroup.controllers").split()
            enabled = read(f"{current}/cgroup.subtree_control").split()
            wanted = [name for name in available if name not in enabled]
            if wanted:
                _enable(current, wanted)
            current = f"{current}/{part}"

    def clone_fd(self) -> int | None:
        return os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def join_self(self) -> None:
        write(f"{self.directory}/cgroup.procs", "0")

    def join(self, pid: int) -> None:
        write(f"{self.directory}/cgroup.procs", str(pid))

    def apply(self, resources: dict[str, Any]) -> None:
        v2_limits.apply(self.directory, resources)
        if resources.get("devices"):
            self._devices(resources["devices"])

    def _devices(self, rules: list[dict[str, Any]]) -> None:
        group = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        made: list[int] = []
        try:
            old = bpf.attached_device(group)
            made += old
            made.append(bpf.load_device_program(program(rules)))
            bpf.attach_device(group, made[-1])
            for fd in old:  # the new one holds already: at no time is there none
                bpf.detach_device(group, fd)
        except OSError as error:
            raise step_error("attach the device rules", error) from None
        finally:
            for fd in [group, *made]:
                os.close(fd)

    def freeze(self) -> None:
        self._freeze(frozen=True)

    def thaw(self) -> None:
        self._freeze(frozen=False)

    def _freeze(self, *, frozen: bool) -> None:
        """cgroup.events tells by POLLPRI when the state is reached."""
        wanted = 1 if frozen else 0
        limit(f"{self.directory}/cgroup.freeze", str(wanted))
        events = os.open(f"{self.directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            for _ in range(200):
                if read_table(f"{self.directory}/cgroup.events").get("frozen") == wanted:
                    return
                os.pread(events, 256, 0)
                poll.poll(10)
        finally:
            os.close(events)
        raise OSError(errno.EBUSY, f"the group does not become {'frozen' if frozen else 'thawed'}", self.directory)

    def frozen(self) -> bool:
        return read_table(f"{self.directory}/cgroup.events").get("frozen") == 1

    def pids(self) -> list[int]:
        return pids_below(self.directory)

    def stats(self) -> dict[str, Any]:
        return v2_stats.stats(self.directory)

    def oom_kills(self) -> int:
        return read_table(f"{self.directory}/memory.events").get("oom_kill", 0)

    def kill_all(self, signal_number: int = signal.SIGKILL) -> None:
        if signal_number == signal.SIGKILL:
            try:
                write(f"{self.directory}/cgroup.kill", "1")  # Linux 5.14
                return
            except OSError as error:
                if not self.exists():
                    return  # gone with its last process: systemd removes a scope by itself
                if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                    raise
        super().kill_all(signal_number)

    def remove(self) -> None:
        remove_tree(self.directory)


def _enable(directory: str, controllers: list[str]) -> None:
    """All at once; if one of them can't be handed down here, the others still are."""
    path = f"{directory}/cgroup.subtree_control"
    try:
        write(path, " ".join("+" + name for name in controllers))
    except OSError:
        for name in controllers:
            try:
                write(path, "+" + name)
            except OSError:
                continue  # a limit that needs it says so when it is set: its file is not there
