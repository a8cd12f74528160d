"""Control groups: what a container may use. One interface, version 1 and version 2 of the kernel's.

`open_cgroup(spec, id)` names the group; nothing is made before `create`. On a machine with both layouts mounted
(*hybrid*) the version 1 controllers are used: the controllers are there, version 2 has none left.
"""

from __future__ import annotations

import os

from kist.runtime.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cgroup.base import Cgroup

ROOT = "/sys/fs/cgroup"


class Layout:
    """Where the hierarchies are mounted. ``v1``: controller (or ``name=…``) → mount point."""

    __slots__ = ("v1", "v2")

    def __init__(self, v1: dict[str, str], v2: str | None) -> None:
        self.v1 = v1
        self.v2 = v2

    @property
    def kind(self) -> str:
        if not self.v1:
            return "v2"
        return "hybrid" if self.v2 else "v1"


_layout: Layout | None = None


def detect(mountinfo: str | None = None) -> Layout:
    """The machine's layout; read once per process (forks inherit it)."""
    global _layout
    if mountinfo is None and _layout is not None:
        return _layout
    if mountinfo is None and _is_v2(ROOT):
        _layout = Layout({}, ROOT)
        return _layout
    if mountinfo is None:
        _layout = parse(_mountinfo())
        return _layout
    return parse(mountinfo)


def _mountinfo() -> str:
    fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return os.fsdecode(b"".join(chunks))
    finally:
        os.close(fd)


def _is_v2(path: str) -> bool:
    """cgroups(7): this file is version 2's alone, and its root has it too."""
    return os.access(f"{path}/cgroup.controllers", os.F_OK)


def parse(mountinfo: str) -> Layout:
    """proc_pid_mountinfo(5): … root mountpoint options … - type source superoptions."""
    v1: dict[str, str] = {}
    v2 = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        kind, _source, options = right.split(" ", 2)
        point = fields[4]
        if kind == "cgroup2" and v2 is None:
            v2 = point
        elif kind == "cgroup" and point.startswith(ROOT + "/"):
            for word in options.split(","):
                if word not in ("rw", "ro", "xattr", "clone_children", "noprefix", "favordynmods"):
                    v1.setdefault(word, point)
    return Layout(v1, v2)


def open_cgroup(spec: dict[str, Any], container_id: str, *, layout: Layout | None = None) -> Cgroup:
    """The group of ``spec["linux"]["cgroupsPath"]`` (config-linux.md#cgroups-path); nothing is made yet."""
    layout = layout or detect()
    path = (spec.get("linux") or {}).get("cgroupsPath") or ""
    path = path or f"/{container_id}"
    if any(part in ("..", ".") for part in path.split("/")):
        raise SpecError(f"linux.cgroupsPath: {path!r} is not a plain path")
    if not path.startswith("/"):
        path = "/" + path
    return open_path(path, layout)


def open_path(path: str, layout: Layout | None = None) -> Cgroup:
    """The group of that path below the mount points (``/kist/<id>``)."""
    layout = layout or detect()
    if layout.kind == "v2":
        from kist.runtime.cgroup.v2 import V2
        return V2(path, layout)
    from kist.runtime.cgroup.v1 import V1
    return V1(path, layout)


open = open_cgroup
