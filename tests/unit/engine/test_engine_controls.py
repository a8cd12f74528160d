"""What the machine's control groups can bound, read from trees like the kernel's."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from kist.engine.controls import Controls


def lay(root: Path, *files: str) -> str:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def test_version_1(tmp_path: Path) -> None:
    root = lay(tmp_path, "memory/memory.limit_in_bytes", "memory/memory.oom_control", "cpu/cpu.shares",
               "pids/cgroup.procs")
    found = Controls.read(root)
    assert {name for name, there in asdict(found).items() if there} == {
        "memory", "oom_kill_disable", "cpu_shares", "pids"}
    assert found.warnings(version=1) == [f"WARNING: No {what} support" for what in (
        "swap limit", "cpu cfs period", "cpu cfs quota", "cpuset")]


def test_version_2(tmp_path: Path) -> None:
    root = lay(tmp_path, "some.slice/memory.max", "some.slice/cpu.max")
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory\n")
    found = Controls.read(root)
    assert {name for name, there in asdict(found).items() if not there} == {"swap", "pids", "oom_kill_disable"}
    assert found.warnings(version=2) == ["WARNING: No swap limit support"]
    lay(tmp_path, "some.slice/memory.swap.max")
    assert Controls.read(root).warnings(version=2) == []


def test_version_2_without_any_group(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    assert Controls.read(str(tmp_path)).swap
