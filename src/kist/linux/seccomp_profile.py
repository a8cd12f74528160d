"""Docker's default seccomp profile, resolved for one container.

The facts are in `seccomp_default.json` beside this file (moby's profile: an allow list; rules may hold only
with certain capabilities, architectures or kernels). `default_profile` picks the rules that hold and gives
the ``linux.seccomp`` section of the OCI runtime configuration (runtime-spec 1.2, config-linux.md#seccomp).
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# uname(2)'s machine → (Go's name as used by the profile's rules, libseccomp's name as used by its archMap).
_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"), "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"), "loongarch64": ("loong64", "SCMP_ARCH_LOONGARCH64"),
}


def load_profile() -> dict[str, Any]:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seccomp_default.json")
    with open(path, encoding="utf-8") as file:
        profile: dict[str, Any] = json.load(file)
    return profile


def default_profile(caps: list[str], machine: str | None = None, kernel: str | None = None) -> dict[str, Any]:
    """The section for a container whose bounding set is ``caps`` (names such as CAP_CHOWN)."""
    return resolve(load_profile(), caps, machine, kernel)


def resolve(profile: dict[str, Any], caps: list[str], machine: str | None = None,
            kernel: str | None = None) -> dict[str, Any]:
    """Any profile in Docker's form (``--security-opt seccomp=FILE``), resolved likewise."""
    uname = os.uname()
    arch, token = _MACHINES.get(machine or uname.machine, (machine or uname.machine, ""))
    version = _version(kernel or uname.release)
    facts = (set(caps), arch, version)
    section: dict[str, Any] = {"defaultAction": profile["defaultAction"], "syscalls": []}
    if profile.get("defaultErrnoRet") is not None:
        section["defaultErrnoRet"] = profile["defaultErrnoRet"]
    if profile.get("flags"):
        section["flags"] = profile["flags"]
    for key in ("listenerPath", "listenerMetadata"):
        if profile.get(key):
            section[key] = profile[key]
    section["architectures"] = profile.get("architectures") or _architectures(profile, token)
    for rule in profile.get("syscalls") or []:
        if _holds(rule, *facts):
            section["syscalls"].append(_oci_rule(rule))
    return section


def _architectures(profile: dict[str, Any], token: str) -> list[str]:
    for entry in profile.get("archMap") or []:
        if entry["architecture"] == token:
            return [token, *(entry.get("subArchitectures") or [])]
    return [token] if token else []


def _holds(rule: dict[str, Any], caps: set[str], arch: str, version: tuple[int, int]) -> bool:
    """moby profiles/seccomp: every included condition holds (all capabilities of them), no excluded one does."""
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and arch not in includes["arches"]:
        return False
    if any(cap not in caps for cap in includes.get("caps") or []):
        return False
    if includes.get("minKernel") and version < _version(includes["minKernel"]):
        return False
    if arch in (excludes.get("arches") or []):
        return False
    if any(cap in caps for cap in excludes.get("caps") or []):
        return False
    return not (excludes.get("minKernel") and version >= _version(excludes["minKernel"]))


def _oci_rule(rule: dict[str, Any]) -> dict[str, Any]:
    names = rule.get("names") or [rule["name"]]
    made: dict[str, Any] = {"names": names, "action": rule["action"]}
    if rule.get("errnoRet") is not None:
        made["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        made["args"] = rule["args"]
    return made


def _version(text: str) -> tuple[int, int]:
    numbers = []
    for part in text.split(".")[:2]:
        digits = ""
        for char in part:
            if not char.isdigit():
                break
            digits += char
        numbers.append(int(digits or 0))
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0)
