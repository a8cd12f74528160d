"""``spec [--bundle DIR] [--rootless]``: a configuration to begin with, as config.json."""

from __future__ import annotations

import os

from kist.runtime import jsons
from kist.runtime.cli.common import none_left
from kist.runtime.cli.options import FLAG, STRING, Option, parse
from kist.runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
           "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"]
_READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def main(options: Parsed, words: list[str], log: Log) -> int:
    own = parse({"bundle": Option("b", STRING), "rootless": Option("", FLAG)}, words)
    none_left(own)
    path = os.path.join(own.string("bundle") or ".", "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(jsons.dumps(example(rootless=own.flag("rootless")), indent=4) + "\n")
    except FileExistsError:
        raise RuntimeFailure(f"File {path} exists. Remove it first") from None
    return 0


def example(*, rootless: bool = False) -> dict[str, Any]:
    noexec = ["nosuid", "noexec", "nodev"]
    mounts = [
        _mount("/proc", "proc", "proc", []),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
                                                *([] if rootless else ["gid=5"])]),
        _mount("/dev/shm", "tmpfs", "shm", [*noexec, "mode=1777", "size=65536k"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", noexec),
        _mount("/sys", "none", "/sys", ["rbind", *noexec, "ro"]) if rootless
        else _mount("/sys", "sysfs", "sysfs", [*noexec, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*noexec, "relatime", "ro"]),
    ]
    linux: dict[str, Any] = {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        "maskedPaths": _MASKED, "readonlyPaths": _READONLY,
    }
    if rootless:
        linux.pop("resources")
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.getuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getgid(), "size": 1}]
    capabilities = dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES)
    return {
        "ociVersion": "1.2.0",
        "process": {"terminal": True, "user": {"uid": 0, "gid": 0}, "args": ["sh"],
                    "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
                    "cwd": "/", "capabilities": capabilities, "noNewPrivileges": True,
                    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]},
        "root": {"path": "rootfs", "readonly": True}, "hostname": "kist", "mounts": mounts, "linux": linux,
    }


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}
