"""``features``: what this runtime and this kernel can do (runtime-spec 1.2, features.md)."""

from __future__ import annotations

from kist.linux import capabilities, seccomp
from kist.linux.namespaces import FLAG
from kist.runtime.cli.common import none_left, show
from kist.runtime.cli.options import parse
from kist.runtime.options import known_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed

HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


def main(options: Parsed, words: list[str], log: Log) -> int:
    none_left(parse({}, words))
    show(features())
    return 0


def features() -> dict[str, Any]:
    """What the runtime implements, whatever this machine has of it: so the specification wants it."""
    return {
        "ociVersionMin": "1.0.0", "ociVersionMax": "1.2.0", "hooks": HOOKS, "mountOptions": known_words(),
        "linux": {
            "namespaces": sorted(FLAG),
            "capabilities": list(capabilities.NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": True},
            "seccomp": _seccomp(), "apparmor": {"enabled": True}, "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "memoryPolicy": {"modes": sorted(_policies()), "flags": sorted(_policy_flags())},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": False},
        },
        "annotations": {"org.kist.runtime.checkpoint.enabled": "false"},
        "potentiallyUnsafeConfigAnnotations": [],
    }


def _policies() -> dict[str, int]:
    from kist.runtime.scheduling import MEMORY_POLICY

    return MEMORY_POLICY


def _policy_flags() -> dict[str, int]:
    from kist.runtime.scheduling import MEMORY_FLAG

    return MEMORY_FLAG


def _seccomp() -> dict[str, Any]:
    try:
        seccomp.Filter(seccomp.ACT["SCMP_ACT_ALLOW"]).__exit__()
    except OSError:
        return {"enabled": False}
    flags = sorted(seccomp.FLAG)
    return {"enabled": True, "actions": sorted(seccomp.ACT), "operators": sorted(seccomp.CMP),
            "archs": sorted(seccomp.ARCH), "knownFlags": flags, "supportedFlags": flags}
