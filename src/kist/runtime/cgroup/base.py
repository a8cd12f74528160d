"""The interface of both versions, and the small file work they share."""

from __future__ import annotations

import abc
import errno
import os
import select

from kist.runtime.cgroup import Layout
from kist.runtime.errors import StepError, step_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # the same, without the enums: they take 3 ms to make



def write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def limit(path: str, value: str) -> None:
    """`write`, with the step's name in the error: ``write 4096 to …/memory.max: EBUSY``."""
    try:
        write(path, value)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise StepError(f"write {value} to {path}: this kernel has no such limit", errno.ENOENT) from None
        raise step_error(f"write {value} to {path}", error) from None


def read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return b"".join(chunks).decode()
    finally:
        os.close(fd)


def read_int(path: str, missing: int = 0) -> int:
    """``max`` is -1; a file that isn't there is ``missing``."""
    try:
        text = read(path).strip()
    except OSError:
        return missing
    return -1 if text == "max" else int(text)


def read_table(path: str) -> dict[str, int]:
    """Lines of ``key number``."""
    try:
        text = read(path)
    except OSError:
        return {}
    table = {}
    for line in text.splitlines():
        key, _, value = line.rpartition(" ")
        if value.lstrip("-").isdigit():
            table[key] = int(value)
    return table


def make_dirs(top: str, path: str) -> list[str]:
    """mkdir below the mount point ``top`` for each component; the directories made. A parent that somebody tidies
    away meanwhile is made again."""
    for attempt in range(16):
        try:
            return _make_dirs(top, path)
        except FileNotFoundError:
            if attempt == 15:
                raise
    raise AssertionError


def _make_dirs(top: str, path: str) -> list[str]:
    made = []
    full = top + path
    try:
        os.mkdir(full, 0o755)
        return [full]
    except FileExistsError:
        return []
    except FileNotFoundError:
        pass
    current = top
    for part in path.split("/"):
        if not part:
            continue
        current = f"{current}/{part}"
        try:
            os.mkdir(current, 0o755)
            made.append(current)
        except FileExistsError:
            pass
    return made


def children(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return []
        raise


def remove_tree(path: str, patience: float = 2.0) -> None:
    """rmdir from the leaves up. A group stays busy for a moment after its last process is gone."""
    delay = 0.001
    while True:
        try:
            os.rmdir(path)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
            for child in children(path):
                remove_tree(child, patience)
            if patience <= 0:
                raise
        select.select([], [], [], delay)
        patience -= delay
        delay = min(delay * 2, 0.05)


def pids_below(path: str, file: str = "cgroup.procs") -> list[int]:
    """All processes of the group and of the groups below it."""
    try:
        found = [int(pid) for pid in read(f"{path}/{file}").split()]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
            found = []
        else:
            raise
    for child in children(path):
        found += pids_below(child, file)
    return found


class Cgroup(abc.ABC):
    """One container's control group.

    `create` makes it, `apply` sets limits, a child goes in by `clone_fd` (version 2: cloned into it) or
    `join_self` (version 1: it moves itself, which is free of the machine-wide lock that moving another costs).
    """

    version = 0
    made = False

    def __init__(self, path: str, layout: Layout) -> None:
        self.path = path
        self.layout = layout

    @abc.abstractmethod
    def create(self) -> None:
        """The directories, down from the mount points."""

    @abc.abstractmethod
    def exists(self) -> bool:
        """Is there such a group?"""

    def settled(self) -> None:  # noqa: B027
        """The container's process is in: what kept the group alive until then may go."""

    @abc.abstractmethod
    def clone_fd(self) -> int | None:
        """A descriptor for clone3(2)'s CLONE_INTO_CGROUP; the caller closes it."""

    @abc.abstractmethod
    def join_self(self) -> None:
        """Move the calling process (of one thread)."""

    @abc.abstractmethod
    def join(self, pid: int) -> None:
        """Move another process (of any number of threads)."""

    @abc.abstractmethod
    def apply(self, resources: dict[str, Any]) -> None:
        """``linux.resources`` of the specification; for a new group or an update."""

    @abc.abstractmethod
    def freeze(self) -> None:
        """Returns when every process stands still."""

    @abc.abstractmethod
    def thaw(self) -> None:
        """Returns when they run again."""

    @abc.abstractmethod
    def frozen(self) -> bool:
        """Do its processes stand still?"""

    @abc.abstractmethod
    def pids(self) -> list[int]:
        """Of the group and of all groups below it."""

    @abc.abstractmethod
    def stats(self) -> dict[str, Any]:
        """See `v1_stats.stats` for the shape."""

    @abc.abstractmethod
    def oom_kills(self) -> int:
        """How often memory ran out and a process was killed."""

    @abc.abstractmethod
    def paths(self) -> dict[str, str]:
        """Controller (version 2: "") → directory."""

    @abc.abstractmethod
    def remove(self) -> None:
        """The group and all below it; its processes must have ended."""

    def kill_all(self, signal_number: int = signal.SIGKILL) -> None:
        """Every process, also those that are born meanwhile: frozen first, so that none can be."""
        for _ in range(16):
            pids = self.pids()
            if not pids:
                return
            self.freeze()
            try:
                for pid in self.pids():
                    try:
                        os.kill(pid, signal_number)
                    except ProcessLookupError:
                        pass
            finally:
                self.thaw()
            if signal_number != signal.SIGKILL:
                return
            select.select([], [], [], 0.005)
