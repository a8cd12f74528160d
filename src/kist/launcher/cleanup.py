"""What is left of a container whose monitor was killed: its processes, cgroup and names."""

from __future__ import annotations

import os
import signal

from kist.launcher import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def cleanup(run_dir: str) -> None:
    """Kill the container in ``run_dir`` and remove its cgroup, socket and state. Blocks for up to some seconds.

    Only for a container without a monitor: connect first, and call this when nobody answers.
    """
    found = _read(f"{run_dir}/state.json")
    if found:
        _kill(found["pid"], found["start_time"])
    spec = _read(f"{found['bundle'] if found else run_dir}/config.json")
    if spec:
        _remove_cgroup(spec, found["id"] if found else "")
    for name in ("monitor.sock", "state.json", "state.json.new"):
        state.forget(f"{run_dir}/{name}")


def _kill(pid: int, start_time: int) -> None:
    """SIGKILL the process of that pid, if it is still the one that started then."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if state.start_time(pid) == start_time:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(pidfd)


def _remove_cgroup(spec: dict[str, Any], container_id: str) -> None:
    from kist.runtime.cgroup import open_cgroup  # not at the top: the engine needs no runtime but for this
    from kist.runtime.errors import RuntimeFailure

    try:
        if not container_id and not spec.get("linux", {}).get("cgroupsPath"):
            return
        group = open_cgroup(spec, container_id)
        group.kill_all()
        group.remove()
    except (OSError, RuntimeFailure):
        pass


def _read(path: str) -> dict[str, Any] | None:
    try:
        return state.read(path)
    except (OSError, ValueError):
        return None
