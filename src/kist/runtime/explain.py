"""What the kernel was asked for to make a container, for people who want to learn or to debug (`kist explain`).

`explain_plan` needs the specification only; `explain_running` adds what is the case now: the inode of each
namespace, each control group file with its limit and use, the mounts, the capabilities, the filter.
"""

from __future__ import annotations

import os

from kist.linux import capabilities
from kist.linux.namespaces import FLAG, ns_path
from kist.runtime.errors import RuntimeFailure
from kist.runtime.namespaces import Namespaces
from kist.runtime.plan import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cgroup.base import Cgroup

WHY = {
    "pid": "it sees its own processes only, and its first one is number 1",
    "mount": "its tree of files is its own", "network": "devices, addresses, routes and firewall of its own",
    "uts": "a host name of its own", "ipc": "System V and POSIX message queues, semaphores, shared memory of its own",
    "cgroup": "its control group looks like the root", "user": "its root is an ordinary user outside",
    "time": "clocks with offsets of its own",
}
# the files worth showing: controller → (limit, use)
FILES_V1 = {"memory": (("memory.limit_in_bytes", "memory.usage_in_bytes"),
                       ("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes")),
            "pids": (("pids.max", "pids.current"),), "cpu": (("cpu.shares", ""), ("cpu.cfs_quota_us", "")),
            "cpuset": (("cpuset.cpus", "cpuset.effective_cpus"), ("cpuset.mems", "cpuset.effective_mems")),
            "devices": (("devices.list", ""),), "freezer": (("freezer.state", ""),)}
FILES_V2 = {"": (("memory.max", "memory.current"), ("memory.swap.max", "memory.swap.current"),
                 ("pids.max", "pids.current"), ("cpu.max", ""), ("cpu.weight", ""),
                 ("cpuset.cpus", "cpuset.cpus.effective"), ("io.max", ""), ("cgroup.freeze", ""))}


def explain_plan(spec: dict[str, Any], container_id: str, bundle: str) -> dict[str, Any]:
    """``steps``: [{"step", "syscall", "why"}…] in order; ``namespaces``; ``seccomp``."""
    namespaces = Namespaces(spec.get("linux") or {}, None)
    made = plan(spec, namespaces, container_id=container_id, bundle=bundle,
                terminal=bool((spec.get("process") or {}).get("terminal")))
    steps = [{"step": "make the control group and set its limits", "syscall": "mkdir(2), write(2)",
              "why": "before there is a process, so that none is ever without limits"},
             {"step": "make the process", "syscall": "clone3(2)", "why": "in its namespaces from the first moment"}]
    steps += [{"step": step.describe(), "syscall": step.syscall, "why": step.why} for step in made.steps()]
    steps.append({"step": "execute " + " ".join((spec.get("process") or {}).get("args") or []),
                  "syscall": "execve(2)", "why": "the program of the user"})
    return {"steps": steps, "namespaces": _asked(spec), "seccomp": _filter(spec),
            "capabilities": sorted(((spec.get("process") or {}).get("capabilities") or {}).get("bounding") or [])}


def _asked(spec: dict[str, Any]) -> list[dict[str, str]]:
    return [{"type": entry["type"], "path": entry.get("path") or "", "why": WHY[entry["type"]]}
            for entry in (spec.get("linux") or {}).get("namespaces") or []]


def _filter(spec: dict[str, Any]) -> dict[str, Any]:
    section = (spec.get("linux") or {}).get("seccomp") or {}
    names: dict[str, set[str]] = {}
    for rule in section.get("syscalls") or []:
        names.setdefault(rule["action"], set()).update(rule["names"])
    return {"default": section.get("defaultAction", "none"), "counts": {action: len(found) for action, found in
                                                                        sorted(names.items())}}


def explain_running(pid: int, group: Cgroup) -> dict[str, Any]:
    """Of a container that runs: what the kernel says of it now."""
    status = _status(pid)
    return {"pid": pid, "namespaces": [_namespace(pid, kind) for kind in sorted(FLAG)], "cgroup": _group(group),
            "mounts": _mounts(pid), "capabilities": {name: _names(int(status[name], 16)) for name in (
                "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
            "seccomp": {"mode": status.get("Seccomp", "0"), "filters": status.get("Seccomp_filters", "")},
            "no_new_privs": status.get("NoNewPrivs") == "1"}


def _status(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            pairs = (line.partition(":") for line in file)
            return {key: value.strip() for key, _, value in pairs}
    except FileNotFoundError:
        raise RuntimeFailure("container not running") from None


def _namespace(pid: int, kind: str) -> dict[str, Any]:
    theirs, ours = os.stat(ns_path(pid, kind)).st_ino, os.stat(ns_path("self", kind)).st_ino
    return {"type": kind, "inode": theirs, "own": theirs != ours, "why": WHY[kind] if theirs != ours else
            "the host's"}


def _group(group: Cgroup) -> list[dict[str, str]]:
    files = FILES_V2 if group.version == 2 else FILES_V1
    found = []
    for controller, directory in group.paths().items():
        for limit, use in files.get(controller, ()):
            value = _read(f"{directory}/{limit}")
            if value is not None:
                found.append({"file": f"{directory}/{limit}", "limit": value,
                              "use": (_read(f"{directory}/{use}") or "") if use else ""})
    return found


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return None


def _mounts(pid: int) -> list[dict[str, str]]:
    """proc_pid_mountinfo(5)."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    found = []
    for line in lines:
        left, _, right = line.partition(" - ")
        kind, source, options = right.split(" ", 2)
        fields = left.split(" ")
        found.append({"on": fields[4], "type": kind, "source": source, "flags": fields[5], "options": options})
    return found


def _names(mask: int) -> list[str]:
    return [name for number, name in enumerate(capabilities.NAMES) if mask >> number & 1]
