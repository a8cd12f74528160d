"""``features``: what this runtime and this kernel can do (runtime-spec 1.2, features.md)."""

from __future__ import annotations

import os

from kist.linux import capabilities, seccomp
from kist.linux.namespaces import FLAG
from kist.runtime.cgroup import detect
from kist.runtime.cli.common import show
from kist.runtime.options import known_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed

HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


def main(options: Parsed, words: list[str], log: Log) -> int:
    show(features())
    return 0


def features() -> dict[str, Any]:
    layout = detect()
    return {
        "ociVersionMin": "1.0.0", "ociVersionMax": "1.2.1", "hooks": HOOKS, "mountOptions": known_words(),
        "linux": {
            "namespaces": sorted(FLAG),
            "capabilities": list(capabilities.NAMES[: capabilities.last_cap() + 1]),
            "cgroup": {"v1": layout.kind != "v2", "v2": layout.kind == "v2",
                       "systemd": os.path.isdir("/run/systemd/system"),
                       "systemdUser": False, "rdma": _controller("rdma")},
            "seccomp": _seccomp(),
            "apparmor": {"enabled": os.path.isdir("/sys/kernel/security/apparmor")},
            "selinux": {"enabled": os.path.exists("/sys/fs/selinux/enforce")},
            "intelRdt": {"enabled": False},
            "memoryPolicy": {"modes": sorted(_policies()), "flags": sorted(_policy_flags())},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": False},
        },
        "annotations": {"org.kist.runtime.checkpoint.enabled": "false"},
        "potentiallyUnsafeConfigAnnotations": [],
    }


def _controller(name: str) -> bool:
    with open("/proc/cgroups", encoding="utf-8") as file:
        return any(line.split()[0] == name and line.split()[3] == "1" for line in file if line[0] != "#")


def _policies() -> dict[str, int]:
    from kist.runtime.process import MEMORY_POLICY

    return MEMORY_POLICY


def _policy_flags() -> dict[str, int]:
    from kist.runtime.process import MEMORY_FLAG

    return MEMORY_FLAG


def _seccomp() -> dict[str, Any]:
    try:
        seccomp.Filter(seccomp.ACT["SCMP_ACT_ALLOW"]).__exit__()
    except OSError:
        return {"enabled": False}
    flags = sorted(seccomp.FLAG)
    return {"enabled": True, "actions": sorted(seccomp.ACT), "operators": sorted(seccomp.CMP),
            "archs": sorted(seccomp.ARCH), "knownFlags": flags, "supportedFlags": flags}
