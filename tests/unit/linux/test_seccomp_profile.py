"""The default profile's rules, resolved by capability, architecture and kernel."""

from __future__ import annotations

from typing import Any

from kist.linux.seccomp_profile import default_profile, resolve


def actions(section: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    return [(rule["action"], rule.get("errnoRet")) for rule in section["syscalls"] if name in rule["names"]]


def test_defaults() -> None:
    section = default_profile(["CAP_CHOWN"], "x86_64", "6.1.0")
    assert section["defaultAction"] == "SCMP_ACT_ERRNO"
    assert section["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert actions(section, "clone3") == [("SCMP_ACT_ERRNO", 38)]
    assert actions(section, "mount") == actions(section, "bpf") == []
    assert actions(section, "arch_prctl") == [("SCMP_ACT_ALLOW", None)]


def test_socket_families() -> None:
    """AF_ALG (38) and AF_VSOCK (40) are denied."""
    section = default_profile([], "x86_64", "6.1.0")
    compares = [rule["args"][0] for rule in section["syscalls"] if rule["names"] == ["socket"]]
    assert [(c["op"], c["value"]) for c in compares] == [
        ("SCMP_CMP_LT", 38), ("SCMP_CMP_EQ", 39), ("SCMP_CMP_GT", 40)]


def test_capabilities_open_system_calls() -> None:
    section = default_profile(["CAP_SYS_ADMIN"], "x86_64", "6.1.0")
    assert actions(section, "clone3") == actions(section, "mount") == [("SCMP_ACT_ALLOW", None)]


def test_architecture_and_kernel() -> None:
    assert actions(default_profile([], "aarch64", "6.1"), "arch_prctl") == []
    assert actions(default_profile([], "x86_64", "4.7.1-old"), "ptrace") == []
    assert actions(default_profile([], "x86_64", "4.8.0-rc1"), "ptrace") == [("SCMP_ACT_ALLOW", None)]


def test_a_profile_of_the_user() -> None:
    section = resolve({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        {"name": "chmod", "action": "SCMP_ACT_ERRNO"}]}, [])
    assert section == {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
                       "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]}
