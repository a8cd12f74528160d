"""Control groups, on whichever version this machine has: the limits are felt from inside, or read from the kernel.

The same file runs in a virtual machine with version 2 (tests/vm).
"""

from __future__ import annotations

from typing import Any

from support.groups import V2, inside


def test_memory_limit_kills(spec: dict[str, Any], limits: dict[str, Any], run: Any) -> None:
    limits["memory"] = {"limit": 32 << 20, "swap": 32 << 20}
    report = run(spec, "sh", "-c", "tail /dev/zero; echo $?")
    assert report["stdout"] == "137\n"
    assert report["oom"] == 1


def test_memory_files(limits: dict[str, Any], sh: Any) -> None:
    limits["memory"] = {"limit": 64 << 20, "reservation": 32 << 20}
    out = sh(inside("memory", "memory.limit_in_bytes", "memory.max") + ";"
             + inside("memory", "memory.soft_limit_in_bytes", "memory.low"))
    assert out.split() == [str(64 << 20), str(32 << 20)]


def test_pids_limit_is_felt(spec: dict[str, Any], limits: dict[str, Any], run: Any) -> None:
    limits["pids"] = {"limit": 4}
    report = run(spec, "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 1 & done; echo all")
    assert "fork" in report["stderr"]


def test_cpu_quota_and_shares(limits: dict[str, Any], sh: Any) -> None:
    limits["cpu"] = {"quota": 50000, "period": 100000, "shares": 512, "burst": 10000}
    if V2:
        out = sh("cd /sys/fs/cgroup; cat cpu.max cpu.weight cpu.max.burst")
        assert out.split() == ["50000", "100000", "20", "10000"]
    else:
        out = sh("cd /sys/fs/cgroup/cpu; cat cpu.cfs_quota_us cpu.cfs_period_us cpu.shares cpu.cfs_burst_us")
        assert out.split() == ["50000", "100000", "512", "10000"]


def test_cpuset_is_felt(limits: dict[str, Any], sh: Any) -> None:
    limits["cpu"] = {"cpus": "0", "mems": "0"}
    assert sh("grep Cpus_allowed_list /proc/self/status").split() == ["Cpus_allowed_list:", "0"]


def test_cpu_idle(limits: dict[str, Any], sh: Any) -> None:
    limits["cpu"] = {"idle": 1}
    assert sh(inside("cpu", "cpu.idle", "cpu.idle")) == "1\n"


DENY = {"allow": False, "access": "rwm"}


def test_devices_are_denied_by_default(limits: dict[str, Any], sh: Any) -> None:
    """CAP_MKNOD is among the default capabilities: the group's rules are what keeps the disks safe."""
    limits["devices"] = [DENY]
    out = sh("mknod /tmp/zero c 1 5 && head -c 3 /tmp/zero | wc -c; mknod /tmp/mem c 1 1 && (head -c1 /tmp/mem "
             ">/dev/null 2>&1 && echo open || echo refused); echo x > /dev/null && echo null")
    assert out.split() == ["3", "refused", "null"]


def test_devices_without_any_rule_are_denied_too(sh: Any) -> None:
    out = sh("mknod /tmp/mem c 1 1; head -c1 /tmp/mem >/dev/null 2>&1 && echo open || echo refused")
    assert out == "refused\n"


def with_syslog(spec: dict[str, Any]) -> None:
    for names in spec["process"]["capabilities"].values():
        names.append("CAP_SYSLOG")


def test_a_device_rule_allows(spec: dict[str, Any], limits: dict[str, Any], sh: Any) -> None:
    """Read but not write: the access is part of the rule. 1:11 is /dev/kmsg, for which CAP_SYSLOG is needed."""
    with_syslog(spec)
    limits["devices"] = [DENY, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]
    spec["linux"]["devices"] = [{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600}]
    out = sh("stat -c %a /dev/kmsg; (exec 3< /dev/kmsg) && echo read; (exec 3> /dev/kmsg) 2>/dev/null || echo refused")
    assert out.split() == ["600", "read", "refused"]


def test_later_rules_win(spec: dict[str, Any], limits: dict[str, Any], sh: Any) -> None:
    with_syslog(spec)
    limits["devices"] = [{"allow": True, "access": "rwm"},
                         {"allow": False, "type": "c", "major": 1, "minor": 1, "access": "rwm"}]
    out = sh("mknod /tmp/kmsg c 1 11; (exec 3< /tmp/kmsg) && echo open; mknod /tmp/mem c 1 1 2>/dev/null; "
             "(exec 3< /tmp/mem) 2>/dev/null || echo refused")
    assert out.split() == ["open", "refused"]


def test_unified(spec: dict[str, Any], limits: dict[str, Any], run: Any) -> None:
    limits["unified"] = {"memory.high": "33554432"}
    if V2:
        assert run(spec, "cat", "/sys/fs/cgroup/memory.high")["stdout"] == "33554432\n"
    else:
        assert "control groups are version 1" in run(spec)["error"]


def test_namespace_hides_the_path(limits: dict[str, Any], sh: Any) -> None:
    assert {line.split(":")[2] for line in sh("cat /proc/self/cgroup").splitlines()} == {"/"}


def test_the_mount_is_read_only_and_own(limits: dict[str, Any], sh: Any) -> None:
    directory = "/sys/fs/cgroup" if V2 else "/sys/fs/cgroup/memory"
    out = sh(f"cat {directory}/cgroup.procs | head -1; mkdir {directory}/x 2>/dev/null || echo refused")
    assert out.split() == ["1", "refused"]


def test_an_unknown_limit_names_itself(spec: dict[str, Any], limits: dict[str, Any], run: Any) -> None:
    limits["hugepageLimits"] = [{"pageSize": "3MB", "limit": 1}]
    assert "huge" in run(spec)["error"]


def test_stats(spec: dict[str, Any], limits: dict[str, Any], run: Any) -> None:
    limits["memory"] = {"limit": 64 << 20}
    limits["pids"] = {"limit": 9}
    stats = run(spec, "sleep", "30", stats=True)["stats"]
    assert stats["memory"]["limit"] == 64 << 20
    assert stats["memory"]["usage"] > 0
    assert stats["pids"] == {"current": 1, "limit": 9}
    assert stats["cpu"]["usage"] > 0


def test_exec_is_in_the_group(spec: dict[str, Any], limits: dict[str, Any], run: Any) -> None:
    limits["pids"] = {"limit": 7}
    probe = {**spec["process"], "args": ["sh", "-c", inside("pids", "pids.max", "pids.max") + "; cat "
             + ("/sys/fs/cgroup/cgroup.procs" if V2 else "/sys/fs/cgroup/pids/cgroup.procs")]}
    lines = run(spec, "sleep", "30", execs=[probe])["execs"][0]["stdout"].split()
    assert lines[0] == "7"
    assert {"1", "2"} <= set(lines[1:])
