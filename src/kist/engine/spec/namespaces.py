"""`--pid`, `--ipc`, `--uts`, `--network`, `--cgroupns` → the list of namespaces (none of a type = the host's)."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

# HostConfig field -> OCI namespace type
FIELDS = {"PidMode": "pid", "IpcMode": "ipc", "UTSMode": "uts", "NetworkMode": "network",
          "CgroupnsMode": "cgroup"}


def joined(mode: str) -> str | None:
    """The container that ``container:ID`` names, else None."""
    return mode.partition(":")[2] if mode.startswith("container:") else None


def namespaces(host: Json, paths: dict[str, str]) -> list[Json]:
    """`paths`: OCI type → namespace file of the container that is joined; known only at start. A joined network
    namespace has none: the launcher is given its descriptor."""
    found: list[Json] = [{"type": "mount"}]
    for field, kind in FIELDS.items():
        mode = host[field] or "private"
        if mode == "host":
            continue
        entry: Json = {"type": kind}
        if kind in paths:
            entry["path"] = paths[kind]
        found.append(entry)
    return found
