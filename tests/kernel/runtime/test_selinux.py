"""SELinux labels taking effect, on a machine and with a policy of the tests' own (tests/vm, part selinux).
Elsewhere `test_spec_parts.py` holds the refusal.

The policy has two types. Everything is base_t's; what box_t may not do is write to its files.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.groups import MACHINE

pytestmark = pytest.mark.skipif(MACHINE != "selinux", reason="the virtual machine has SELinux (make test-vm)")
# In the order of the kernel's numbers for them (security/selinux/include/initial_sid_to_string.h).
SIDS = ("kernel", "security", "unlabeled", "fs", "file", "file_labels", "init", "any_socket", "port", "netif", "netmsg",
        "node", "igmp_packet", "icmp_socket", "tcp_socket", "sysctl_modprobe", "sysctl", "sysctl_fs", "sysctl_kernel",
        "sysctl_net", "sysctl_net_unix", "sysctl_vm", "sysctl_dev", "kmod", "policy", "scmp_packet", "devnull")
BASE, BOX = "user_u:base_r:base_t", "user_u:base_r:box_t"
POLICY = "\n".join([
    "class process", "class file", *(f"sid {name}" for name in SIDS),
    "class process { transition dyntransition }", "class file { write }",
    "type base_t;", "type box_t;", "role base_r;", "role base_r types { base_t box_t };",
    "allow base_t self:file write;", "allow base_t { base_t box_t }:process transition;",
    "user user_u roles { base_r };", *(f"sid {name} {BASE}" for name in SIDS),
    *(f"fs_use_trans {kind} {BASE};" for kind in ("tmpfs", "devpts")),
    *(f"genfscon {kind} / {BASE}" for kind in ("proc", "sysfs", "rootfs")), ""])


@pytest.fixture(scope="module", autouse=True)
def policy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "policy.conf").write_text(POLICY)
    subprocess.run(["checkpolicy", "-U", "allow", "-c", "33", "-o", "policy", "policy.conf"], check=True, cwd=folder)
    subprocess.run(["mount", "-t", "selinuxfs", "selinuxfs", "/sys/fs/selinux"], check=True)
    Path("/sys/fs/selinux/load").write_bytes((folder / "policy").read_bytes())
    yield
    subprocess.run(["umount", "/sys/fs/selinux"], check=True)


def test_a_label_confines(spec: dict[str, Any], sh: Any, rootfs: Path) -> None:
    """The kernel's word for it, and a file that may be read, but not written."""
    (rootfs / "letter").write_text("told\n")
    spec["process"]["selinuxLabel"] = BOX
    out = sh("cat /proc/self/attr/current | tr '\\0' '\\n'; cat /letter; (echo x > /letter) 2>&1 || true")
    assert out.splitlines() == [BOX, "told", "sh: can't create /letter: Permission denied"]
    assert (rootfs / "letter").read_text() == "told\n"


def test_without_a_label_it_is_the_callers(sh: Any) -> None:
    out = sh("cat /proc/self/attr/current | tr '\\0' '\\n'; echo x > /letter; cat /letter")
    assert out.splitlines() == [BASE, "x"]


def test_what_is_executed_later_is_confined_too(spec: dict[str, Any], run: Any) -> None:
    probe = {**spec["process"], "args": ["cat", "/proc/self/attr/current"], "selinuxLabel": BOX}
    assert run(spec, "sleep", "30", execs=[probe])["execs"][0]["stdout"].rstrip("\0\n") == BOX


def test_a_label_that_the_policy_does_not_know(spec: dict[str, Any], run: Any) -> None:
    spec["process"]["selinuxLabel"] = "user_u:base_r:other_t"
    assert "other_t" in run(spec)["error"]


def test_the_mounts_label(spec: dict[str, Any], sh: Any) -> None:
    """A tmpfs of the container's is labelled as asked for."""
    spec["linux"]["mountLabel"] = BOX
    spec["mounts"].append({"destination": "/labelled", "type": "tmpfs", "source": "tmpfs"})
    assert f"context={BOX}" in sh("grep ' /labelled ' /proc/self/mounts").replace('"', "")
