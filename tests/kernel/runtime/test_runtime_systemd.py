"""systemd's driver with a real systemd: needs a machine that runs it (`make test-vm` boots one)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.groups import V2

MAIN = Path(__file__).resolve().parents[3] / "src" / "kist" / "runtime" / "__main__.py"

pytestmark = pytest.mark.skipif(not os.path.isdir("/run/systemd/system"), reason="systemd does not run here")


def oci(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(MAIN), "--root", str(tmp_path / "st"), "--systemd-cgroup", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_container_is_a_scope(spec: dict[str, Any], tmp_path: Path, container_id: str) -> None:
    """Its group is where systemd put the unit, with the limits that systemd was told; it is gone afterwards."""
    spec["linux"]["cgroupsPath"] = f"kisttest.slice:kist:{container_id}"
    spec["linux"]["namespaces"] = [entry for entry in spec["linux"]["namespaces"] if entry["type"] != "cgroup"]
    spec["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 11}}
    spec["process"]["args"] = ["sh", "-c", "cat /proc/self/cgroup"]
    (tmp_path / "config.json").write_text(json.dumps(spec))
    done = oci(tmp_path, "run", "-b", str(tmp_path), container_id)
    assert done.returncode == 0, done.stderr
    assert f"/kisttest.slice/kist-{container_id}.scope" in done.stdout
    assert not list(Path("/sys/fs/cgroup").glob(f"**/kist-{container_id}.scope"))


def test_limits_and_update(spec: dict[str, Any], tmp_path: Path, container_id: str) -> None:
    spec["linux"]["cgroupsPath"] = f"kisttest.slice:kist:{container_id}"
    spec["linux"]["resources"] = {"pids": {"limit": 11}}
    spec["process"]["args"] = ["sleep", "60"]
    (tmp_path / "config.json").write_text(json.dumps(spec))
    command = [sys.executable, "-I", "-S", str(MAIN), "--root", str(tmp_path / "st"), "--systemd-cgroup", "run", "-d",
               "-b", str(tmp_path), container_id]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120)
    try:
        unit = next(Path("/sys/fs/cgroup", "" if V2 else "pids").glob(f"**/kist-{container_id}.scope"))
        assert (unit / "pids.max").read_text() == "11\n"
        assert oci(tmp_path, "update", "--pids-limit", "12", container_id).returncode == 0
        assert (unit / "pids.max").read_text() == "12\n"
        assert oci(tmp_path, "exec", container_id, "true").returncode == 0
    finally:
        deleted = oci(tmp_path, "delete", "-f", container_id)
        assert deleted.returncode == 0, deleted.stderr
    assert not unit.exists()
