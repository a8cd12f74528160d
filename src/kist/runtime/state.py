"""The containers of ``kist oci``: a directory each, and the state machine (runtime-spec 1.2, runtime.md#state).

    <root>/<id>/
      state.json    what create recorded; written by rename
      config.json   the bundle's configuration as it was at create
      start.sock    there as long as init waits at the barrier
      lock          held by whoever changes the container

                  create                 start                 (it ends)
        (none) ──▶ creating ──▶ created ──▶ running ⇄ paused ──▶ stopped ──delete──▶ (none)
"""

from __future__ import annotations

import errno
import fcntl
import os

from kist.runtime import jsons
from kist.runtime.cgroup import open_path
from kist.runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cgroup.base import Cgroup

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"

# verb → the states in which it may act
MAY = {
    "start": {CREATED},
    "kill": {CREATED, RUNNING, PAUSED},
    "delete": {STOPPED},
    "exec": {CREATED, RUNNING},
    "pause": {CREATED, RUNNING},
    "resume": {PAUSED},
    "update": {CREATED, RUNNING, PAUSED},
    "ps": {CREATED, RUNNING, PAUSED, STOPPED},
    "events": {CREATED, RUNNING, PAUSED},
}


class NotThere(RuntimeFailure):
    """No container of that id."""


class WrongState(RuntimeFailure):
    """The verb is not for this state."""


def check_id(container_id: str) -> None:
    """runc's rule: what can be a file name, and is not hidden."""
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
    if not container_id or not set(container_id) <= allowed or container_id in (".", ".."):
        raise RuntimeFailure(f"invalid container id {container_id!r}: letters, digits and _ + - . only")
    if len(container_id) > 1024:
        raise RuntimeFailure("the container id is too long")


class Container:
    __slots__ = ("_lock", "directory", "id", "record")

    def __init__(self, root: str, container_id: str) -> None:
        check_id(container_id)
        self.id = container_id
        self.directory = os.path.join(root, container_id)
        self.record: dict[str, Any] = {}
        self._lock = -1

    @classmethod
    def make(cls, root: str, container_id: str) -> Container:
        """A new one; the directory's name keeps ids unique."""
        made = cls(root, container_id)
        os.makedirs(root, mode=0o700, exist_ok=True)  # what it holds has environments, with passwords
        try:
            os.mkdir(made.directory, 0o700)
        except FileExistsError:
            raise RuntimeFailure(f"container with id {container_id} already exists", errno.EEXIST) from None
        made.lock()
        return made

    @classmethod
    def load(cls, root: str, container_id: str) -> Container:
        found = cls(root, container_id)
        try:
            found.record = jsons.load(f"{found.directory}/state.json")
        except FileNotFoundError:
            if os.path.isdir(found.directory):
                found.record = {"pid": 0, "creating": True}
                return found
            raise NotThere("container does not exist", errno.ENOENT) from None
        return found

    def lock(self) -> None:
        """Until the process ends, or `unlock`."""
        self._lock = os.open(f"{self.directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def unlock(self) -> None:
        if self._lock >= 0:
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # init was forked with the same lock: closing isn't enough
            os.close(self._lock)
            self._lock = -1

    def save(self) -> None:
        staging = f"{self.directory}/state.json.new"
        with open(staging, "w", encoding="utf-8") as file:
            file.write(jsons.dumps(self.record))
        os.replace(staging, f"{self.directory}/state.json")

    def spec(self) -> dict[str, Any]:
        config: dict[str, Any] = jsons.load(f"{self.directory}/config.json")
        return config

    def cgroup(self) -> Cgroup:
        if self.record.get("systemd"):
            from kist.runtime.cgroup.systemd import reopen
            return reopen(self.record)
        if not self.record["cgroup"]:
            from kist.runtime.cgroup import detect
            from kist.runtime.cgroup.absent import Absent
            return Absent("", detect())
        return open_path(self.record["cgroup"])

    @property
    def pid(self) -> int:
        return int(self.record.get("pid") or 0)

    @property
    def socket_path(self) -> str:
        return f"{self.directory}/start.sock"

    def status(self) -> str:
        if self.record.get("creating"):
            return CREATING
        if not self.pid or start_time(self.pid) != self.record["start_time"]:
            return STOPPED
        if self.cgroup().frozen():
            return PAUSED  # a created one, too: whoever froze it has to thaw it
        return CREATED if os.path.exists(self.socket_path) else RUNNING

    def may(self, verb: str) -> str:
        """The status, if ``verb`` is for it."""
        status = self.status()
        if status not in MAY[verb]:
            words = _REFUSALS.get((verb, status)) or _REFUSALS.get((verb, "")) or _REFUSAL
            raise WrongState(words.format(verb=verb, status=status, id=self.id))
        return status

    def state(self, status: str | None = None) -> dict[str, Any]:
        """The specification's state (runtime.md#state)."""
        status = status or self.status()
        state: dict[str, Any] = {"ociVersion": "1.2.0", "id": self.id, "status": status}
        if status != STOPPED and self.pid:
            state["pid"] = self.pid
        state["bundle"] = self.record.get("bundle", "")
        if self.record.get("annotations"):
            state["annotations"] = self.record["annotations"]
        return state

    def forget(self) -> None:
        for name in ("state.json", "state.json.new", "config.json", "start.sock", "lock"):
            try:
                os.unlink(f"{self.directory}/{name}")
            except FileNotFoundError:
                pass
        try:
            os.rmdir(self.directory)
        except FileNotFoundError:
            pass
        self.unlock()


_REFUSAL = "cannot {verb} a container that is {status}"
# verb and state, or any state → the words that callers of runc know.
_REFUSALS = {
    ("start", RUNNING): "cannot start an already running container",
    ("start", STOPPED): "cannot start a container that has stopped",
    ("kill", ""): "container not running",
    ("delete", ""): "cannot delete container {id} that is not stopped: {status}",
    ("exec", PAUSED): "cannot exec in a paused container (use --ignore-paused to override)",
    ("exec", ""): "cannot exec in a {status} container",
    ("pause", ""): "container not running",
    ("resume", ""): "container not paused",
    ("update", ""): "container not running",
    ("events", ""): "container with id {id} is not running",
}


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat, in clock ticks since boot; 0 if the process is gone or a zombie. With it a
    pid that was given to another process is told apart."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fields = os.read(fd, 4096).rpartition(b")")[2].split()
    except ProcessLookupError:
        return 0
    finally:
        os.close(fd)
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def all_containers(root: str) -> list[Container]:
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(Container.load(root, name))
        except RuntimeFailure:
            continue  # deleted meanwhile, or no container's directory
    return found
