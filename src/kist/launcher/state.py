"""The files by which a container is found again: written by its monitor, read by the engine.

    <run_dir>/state.json   {"id", "pid", "start_time", "monitor_pid", "monitor_start_time", "started_at",
                            "bundle", "data_dir"}: from before its program runs until its end
    <data_dir>/exit.json   {"status", "oom", "finished_at", "signalled"} when it has ended; also when it could not be
                           started and nobody was there to be told ("error", "kind")

Times are seconds since the epoch, start times clock ticks since boot (field 22 of /proc/<pid>/stat).
"""

from __future__ import annotations

import os
import sys

from kist.launcher import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def start_time(pid: int) -> int:
    """When a process started; with the pid it names a process for good. Raises OSError if there is none."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rsplit(b")", 1)[1].split()[19])


def read(path: str) -> dict[str, Any]:
    """A JSON object from a file; raises OSError or ValueError."""
    with open(path, "rb") as file:
        return protocol.decode(file.read(), path)


def publish(path: str, content: dict[str, Any]) -> int:
    """Write a file atomically; gives its descriptor (for ``sync``). Raises OSError."""
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, protocol.encode(content) + b"\n")
        os.rename(f"{path}.new", path)
    except OSError:
        os.close(fd)
        raise
    return fd


def write_running(facts: dict[str, Any], run_dir: str) -> None:
    """state.json, from its pids and the rest; the start times are looked up."""
    os.close(publish(f"{run_dir}/state.json", {
        **facts, "start_time": start_time(facts["pid"]), "monitor_start_time": start_time(facts["monitor_pid"])}))


def sync(fd: int, directory: str) -> None:
    """Make a published file survive a power cut, and close it."""
    try:
        os.fsync(fd)
        os.close(fd)
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fsync(parent)
        os.close(parent)
    except OSError as error:
        if os.path.isdir(directory):  # else the container was removed meanwhile
            print(f"kist-monitor: {directory}: {error.strerror}", file=sys.stderr, flush=True)


def forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
