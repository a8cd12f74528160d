"""Which namespaces are new, which are joined, and how the process gets into them.

The common case needs one clone3(2) and nothing else. Only with a user namespace among those joined, or a pid
namespace joined, or a new user namespace beside joined others, a short-lived *stage* process goes first: it
joins, clones init as its own sibling (CLONE_PARENT), says its pid, and is gone.
"""

from __future__ import annotations

import errno
import os

from kist.linux.namespaces import CLONE_NEWTIME, FLAG, setns, unshare
from kist.runtime.errors import SpecError
from kist.runtime.mounts import mapping_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Namespaces:
    __slots__ = ("cgroup", "joined", "new", "offsets", "paths", "private", "user_maps")

    def __init__(self, linux: dict[str, Any], netns_fd: int | None) -> None:
        self.new = 0                        # clone flags
        self.cgroup = False                 # unshared by init itself, once it is in its control group
        self.paths: dict[str, str] = {}     # kind → path
        self.joined: dict[str, int] = {}    # kind → descriptor
        self.offsets = ""
        for entry in linux.get("namespaces") or []:
            self._add(entry["type"], entry.get("path"))
        if netns_fd is not None:
            self.new &= ~FLAG["network"]
            self.paths.pop("network", None)
            self.joined["network"] = netns_fd
        # the namespaces that are not the host's, as far as can be told
        self.private = {kind for kind, flag in FLAG.items() if self.new & flag} | set(self.paths) | set(self.joined)
        if self.cgroup:
            self.private.add("cgroup")
        self.user_maps = self._maps(linux)
        if linux.get("timeOffsets"):
            if not self.new & CLONE_NEWTIME:
                raise SpecError("linux.timeOffsets: needs a new time namespace")
            self.offsets = "".join(f"{clock} {value.get('secs', 0)} {value.get('nanosecs', 0)}\n"
                                   for clock, value in linux["timeOffsets"].items())

    def _add(self, kind: str, path: str | None) -> None:
        if kind not in FLAG:
            raise SpecError(f"linux.namespaces: unknown type {kind!r}")
        if kind in self.paths or self.new & FLAG[kind] or (kind == "cgroup" and self.cgroup):
            raise SpecError(f"linux.namespaces: {kind} is there twice")
        if path:
            if not path.startswith("/"):
                raise SpecError(f"linux.namespaces: {kind}: the path is not absolute")
            self.paths[kind] = path
        elif kind == "cgroup":
            self.cgroup = True
        else:
            self.new |= FLAG[kind]

    def _maps(self, linux: dict[str, Any]) -> tuple[str, str] | None:
        uids, gids = linux.get("uidMappings") or [], linux.get("gidMappings") or []
        if not self.new & FLAG["user"]:
            if (uids or gids) and "user" not in self.paths:
                raise SpecError("linux.uidMappings: needs a user namespace")
            return None
        if not uids or not gids:
            raise SpecError("linux.uidMappings and gidMappings: a new user namespace needs both")
        return mapping_lines(uids), mapping_lines(gids)

    @property
    def new_user(self) -> bool:
        return bool(self.new & FLAG["user"])

    @property
    def in_user(self) -> bool:
        return self.new_user or "user" in self.joined or "user" in self.paths

    def staged(self) -> bool:
        others = set(self.joined)
        return "user" in others or "pid" in others or (self.new_user and bool(others))

    def open(self) -> None:
        """Open what is to be joined. A path that is no namespace of its kind fails when it is joined."""
        for kind, path in self.paths.items():
            self.joined[kind] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        for kind in self.paths:
            fd = self.joined.pop(kind, -1)
            if fd >= 0:
                os.close(fd)

    def join(self) -> None:
        """Those of the host's user namespace first, while its privilege lasts; then the user namespace."""
        order = [*(kind for kind in self.joined if kind not in ("user", "mount")), "mount", "user"]
        for kind in order:
            if kind not in self.joined:
                continue
            try:
                setns(self.joined[kind], FLAG[kind])
            except OSError as error:
                raise OSError(error.errno, self._refusal(kind, error)) from None

    def _refusal(self, kind: str, error: OSError) -> str:
        """The kernel says EINVAL of what is no namespace of that kind, and of the user namespace that one is in."""
        words = "it is none of that kind, or already joined" if error.errno == errno.EINVAL else str(error.strerror)
        return f"{kind} namespace {self.paths.get(kind, '')}: {words}"


class NewTime:
    """A new time namespace is entered by children only, and takes its offsets before the first of them
    (time_namespaces(7)). So the creator makes it, clones, and goes back to its own."""

    __slots__ = ("own",)

    def __init__(self, offsets: str) -> None:
        self.own = os.open("/proc/self/ns/time", os.O_RDONLY | os.O_CLOEXEC)
        unshare(CLONE_NEWTIME)
        if offsets:
            try:
                fd = os.open("/proc/self/timens_offsets", os.O_WRONLY)
                try:
                    os.write(fd, offsets.encode())
                finally:
                    os.close(fd)
            except OSError:
                self.restore()
                raise

    def restore(self) -> None:
        setns(self.own, CLONE_NEWTIME)
        os.close(self.own)
