"""What the kernel was asked for to make a container, for people who want to learn or to debug (`kist explain`).

`explain_plan` needs the specification only; `explain_running` adds what is the case now: the inode of each
namespace, each control group file with its limit and use, the mounts, the capabilities, the filter.
"""

from __future__ import annotations

import os

from kist.linux import capabilities
from kist.linux.namespaces import FLAG, ns_path
from kist.runtime.errors import RuntimeFailure
from kist.runtime.mounts import Bind, Mount
from kist.runtime.namespaces import Namespaces
from kist.runtime.plan import plan
from kist.runtime.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from kist.runtime.cgroup.base import Cgroup

WHY = {
    "pid": "it sees its own processes only, and its first one is number 1",
    "mount": "its tree of files is its own", "network": "devices, addresses, routes and firewall of its own",
    "uts": "a host name of its own", "ipc": "System V and POSIX message queues, semaphores, shared memory of its own",
    "cgroup": "its control group looks like the root", "user": "its root is an ordinary user outside",
    "time": "clocks with offsets of its own",
}
# what the mounts that every container has are good for
PLACES = {
    "/proc": "the processes of its pid namespace, as files; ps reads them",
    "/dev": "an empty one: its own devices only",
    "/dev/pts": "terminals of its own",
    "/sys": "the kernel's devices, to look at",
    "/dev/mqueue": "the message queues of its ipc namespace",
    "/dev/shm": "shared memory of its own, of bounded size",
    "/etc/resolv.conf": "whom it asks for names; written at each start",
    "/etc/hostname": "its name; written at each start",
    "/etc/hosts": "its own address and name; written at each start",
}
_FLAG_NAMES = {"mount": "CLONE_NEWNS", "cgroup": "CLONE_NEWCGROUP", "uts": "CLONE_NEWUTS", "ipc": "CLONE_NEWIPC",
               "user": "CLONE_NEWUSER", "pid": "CLONE_NEWPID", "network": "CLONE_NEWNET", "time": "CLONE_NEWTIME"}
# the files worth showing: controller → (limit, use)
FILES_V1 = {"memory": (("memory.limit_in_bytes", "memory.usage_in_bytes"),
                       ("memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes")),
            "pids": (("pids.max", "pids.current"),), "cpu": (("cpu.shares", ""), ("cpu.cfs_quota_us", "")),
            "cpuset": (("cpuset.cpus", "cpuset.effective_cpus"), ("cpuset.mems", "cpuset.effective_mems")),
            "devices": (("devices.list", ""),), "freezer": (("freezer.state", ""),)}
FILES_V2 = {"": (("memory.max", "memory.current"), ("memory.swap.max", "memory.swap.current"),
                 ("pids.max", "pids.current"), ("cpu.max", ""), ("cpu.weight", ""),
                 ("cpuset.cpus", "cpuset.cpus.effective"), ("io.max", ""), ("cgroup.freeze", ""))}


def explain_plan(spec: dict[str, Any], container_id: str, bundle: str, *, netns: bool = False) -> dict[str, Any]:
    """``steps``: [{"step", "syscall", "why"}…] in order; ``namespaces``; ``limits``; ``capabilities``; ``seccomp``.
    ``netns``: the network namespace is given as a descriptor, as the engine does it."""
    linux = spec.get("linux") or {}
    namespaces = Namespaces(linux, -1 if netns else None)
    made = plan(spec, namespaces, container_id=container_id, bundle=bundle,
                terminal=bool((spec.get("process") or {}).get("terminal")))
    flags = " ".join(_FLAG_NAMES[kind] for kind, flag in FLAG.items() if namespaces.new & flag)
    steps = [{"step": "make the control group and set its limits", "syscall": "mkdir(2), write(2)",
              "why": "before there is a process, so that none is ever without limits"},
             {"step": "make the process", "syscall": f"clone3(2) {flags}".strip(),
              "why": "in its namespaces from the first moment"}]
    steps += [{"step": f"join the {kind} namespace", "syscall": f"setns(2) {_FLAG_NAMES[kind]}",
               "why": f"another's, by {namespaces.paths[kind]}" if kind in namespaces.paths else
               "made and wired before, so that the start need not wait for it"}
              for kind in (*namespaces.joined, *namespaces.paths)]
    steps += [{"step": step.describe(), "syscall": step.syscall, "why": _why(step, container_id)}
              for step in made.steps()]
    steps.append({"step": "execute " + " ".join((spec.get("process") or {}).get("args") or []),
                  "syscall": "execve(2)", "why": "the program of the user"})
    return {"steps": steps, "namespaces": _asked(spec), "seccomp": _filter(spec),
            "limits": dict(_limits(linux.get("resources") or {})),
            "capabilities": sorted(((spec.get("process") or {}).get("capabilities") or {}).get("bounding") or [])}


def _why(step: Step, container_id: str) -> str:
    """A user's own bind mount on such a place is the user's."""
    if isinstance(step, Mount) or (isinstance(step, Bind) and container_id in step.source):
        return PLACES.get(step.destination, step.why)
    return step.why


def _limits(resources: dict[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """``memory.limit`` and so on, flat; the device rules are a list of their own kind, and left out."""
    for key, value in resources.items():
        if isinstance(value, dict):
            yield from _limits(value, f"{name}{key}.")
        elif key != "devices":
            yield f"{name}{key}", value


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
