"""Docker's seccomp profile format → OCI `linux.seccomp`.

The format adds conditions to OCI's: each rule may name capabilities, architectures and a least kernel under
which it holds (`includes`) or not (`excludes`), and `archMap` says which sub-architectures come along.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources as files
from typing import Any

from kist.errors import InvalidParameter

Json = dict[str, Any]
_OCI_ARCH = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64", "riscv64": "SCMP_ARCH_RISCV64",
             "s390x": "SCMP_ARCH_S390X", "loong64": "SCMP_ARCH_LOONGARCH64", "386": "SCMP_ARCH_X86",
             "arm": "SCMP_ARCH_ARM"}


@lru_cache(maxsize=1)
def default_profile() -> Json:
    text = files.files("kist.engine.spec").joinpath("seccomp-default.json").read_text("utf-8")
    profile: Json = json.loads(text)
    return profile


def parse_profile(text: str) -> Json:
    """A profile given by a user."""
    try:
        profile = json.loads(text)
    except ValueError as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error}") from None
    if not isinstance(profile, dict) or not isinstance(profile.get("syscalls", []), list):
        raise InvalidParameter("Decoding seccomp profile failed: not a profile")
    if "defaultAction" not in profile:
        raise InvalidParameter("Decoding seccomp profile failed: defaultAction is missing")
    if profile.get("archMap") and profile.get("architectures"):
        raise InvalidParameter("both 'architectures' and 'archMap' are specified in the seccomp profile, use "
                               "either 'architectures' or 'archMap'")
    return profile


def to_oci(profile: Json, *, capabilities: Iterable[str], arch: str, kernel: tuple[int, int]) -> Json:
    """`arch`: Go's name (amd64, arm64…). Rules whose conditions don't hold are left out."""
    caps = frozenset(capabilities)
    found: Json = {"defaultAction": profile["defaultAction"]}
    for key in ("defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"):
        if profile.get(key) is not None:
            found[key] = profile[key]
    found["architectures"] = _architectures(profile, arch)
    found["syscalls"] = [_rule(rule) for rule in profile.get("syscalls") or ()
                         if _holds(rule, caps, arch, kernel)]
    return found


@lru_cache(maxsize=64)
def default_for(capabilities: tuple[str, ...], arch: str, kernel: tuple[int, int]) -> Json:
    """The default profile; callers must not change the answer (it is shared)."""
    return to_oci(default_profile(), capabilities=capabilities, arch=arch, kernel=kernel)


def _architectures(profile: Json, arch: str) -> list[str]:
    if profile.get("architectures"):
        return list(profile["architectures"])
    native = _OCI_ARCH.get(arch)
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            return [native, *(entry.get("subArchitectures") or ())]
    return [native] if native else []


def _holds(rule: Json, caps: frozenset[str], arch: str, kernel: tuple[int, int]) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and arch not in includes["arches"]:
        return False
    if arch in (excludes.get("arches") or ()):
        return False
    if any(cap not in caps for cap in includes.get("caps") or ()):
        return False
    if any(cap in caps for cap in excludes.get("caps") or ()):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _rule(rule: Json) -> Json:
    made: Json = {"names": rule.get("names") or [rule["name"]], "action": rule["action"]}
    if rule.get("errnoRet") is not None:
        made["errnoRet"] = rule["errnoRet"]
    if rule.get("args"):
        made["args"] = [{key: arg[key] for key in ("index", "value", "valueTwo", "op") if key in arg}
                        for arg in rule["args"]]
    return made


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
