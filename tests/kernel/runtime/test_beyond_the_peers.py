"""Network rate, storage quota, explain: what Docker's runtimes don't have."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def needs(*tools: str) -> None:
    """The small system of tests/vm has none of them."""
    for tool in tools:
        if shutil.which(tool) is None or os.path.realpath(shutil.which(tool) or "").endswith("busybox"):
            pytest.skip(f"{tool} is not installed")


def inside(pid: str, *command: str) -> str:
    return subprocess.run(["nsenter", "-t", pid, "-n", *command], check=True, text=True, capture_output=True).stdout


@pytest.fixture
def wire(hold: Any) -> list[str]:
    """Two processes in network namespaces of their own, with a veth pair between them."""
    needs("ip", "tc")
    pids = [hold("network"), hold("network")]
    inside(pids[0], "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", pids[1])
    for number, pid in enumerate(pids, 1):
        inside(pid, "ip", "addr", "add", f"10.9.8.{number}/24", "dev", "eth0")
        inside(pid, "ip", "link", "set", "eth0", "up")
    return pids


def bucket(pid: str) -> str:
    return inside(pid, "tc", "qdisc", "show", "dev", "eth0")


def held_back(pid: str, device: str) -> int:
    """How often the kernel made a packet wait because the bucket was empty."""
    text = inside(pid, "tc", "-s", "qdisc", "show", "dev", device)
    return int(re.findall(r"qdisc tbf.*?overlimits (\d+)", text, re.DOTALL)[0])


def test_network_rate(spec: dict[str, Any], run: Any, wire: list[str]) -> None:
    """2 MB out at 1 MB/s, 1 MB in at 0.5 MB/s: all of it arrives, and the kernel made packets wait both ways."""
    spec["kist"] = {"networkRate": {"egress": 1000000, "ingress": 500000}}
    script = ("import socket\nserver = socket.create_server(('10.9.8.2', 999))\nprint('up', flush=True)\n"
              "conn, _ = server.accept()\nsize = 0\nwhile size < 2000000: size += len(conn.recv(65536))\n"
              "conn.sendall(bytes(1000000)); conn.shutdown(1); conn.recv(1)\n")
    peer = subprocess.Popen(["nsenter", "-t", wire[1], "-n", sys.executable, "-c", script], text=True,
                            stdout=subprocess.PIPE)
    assert peer.stdout is not None
    assert peer.stdout.readline() == "up\n"
    report = run(spec, "sh", "-c", "head -c 2000000 /dev/zero | nc 10.9.8.2 999 | wc -c",
                 netns=f"/proc/{wire[0]}/ns/net")
    assert report["stdout"].strip() == "1000000", report
    peer.wait()
    peer.stdout.close()
    assert "rate 8Mbit" in bucket(wire[0])
    assert held_back(wire[0], "eth0") > 0
    assert held_back(wire[0], f"kist-in{_index(wire[0])}") > 0


def _index(pid: str) -> str:
    return inside(pid, "ip", "-o", "link", "show", "eth0").split(":")[0]


def test_network_rate_can_change(spec: dict[str, Any], run: Any, wire: list[str]) -> None:
    for rate, words in ((125000, "rate 1Mbit"), (250000, "rate 2Mbit")):
        spec["kist"] = {"networkRate": {"egress": rate}}
        run(spec, "true", netns=f"/proc/{wire[0]}/ns/net")
        assert words in bucket(wire[0])


def test_network_rate_needs_a_device_and_sense(spec: dict[str, Any], run: Any) -> None:
    spec["kist"] = {"networkRate": {"egress": 100000}}
    assert "the container has no network device" in run(spec)["error"]
    spec["kist"] = {"networkRate": {"egress": 1}}
    assert "not a rate" in run(spec)["error"]


def test_storage_quota(spec: dict[str, Any], run: Any, rootfs: Path, tmp_path: Path) -> None:
    """Writes past the bound get ENOSPC, what was written stays for the next start, nothing is mounted outside."""
    needs("mkfs.ext4", "losetup")
    image = tmp_path / "quota.img"
    (tmp_path / "point").mkdir()
    spec["root"]["path"] = str(tmp_path / "point")
    spec["kist"] = {"storageQuota": {"image": str(image), "size": 16 << 20}, "rootfs": [
        {"type": "overlay", "source": "overlay",
         "options": [f"lowerdir={rootfs}", "upperdir=QUOTA/upper", "workdir=QUOTA/work"]}]}
    report = run(spec, "sh", "-c", "echo kept > /kept; dd if=/dev/zero of=/big bs=1M count=64; rm /big; df / | tail -1")
    assert "No space left on device" in report.get("stderr", ""), report
    assert int(report["stdout"].split()[1]) <= 17 << 10
    assert run(spec, "cat", "/kept")["stdout"] == "kept\n"
    assert str(image) not in subprocess.run(["losetup", "-a"], text=True, capture_output=True, check=True).stdout


def test_explain(spec: dict[str, Any]) -> None:
    """The plan in order, and what is the case: read of this very process."""
    from kist.runtime.cgroup import open_path
    from kist.runtime.explain import explain_plan, explain_running

    told = explain_plan(spec, "x", "/b")
    steps = [step["step"] for step in told["steps"]]
    assert steps.index("make the process") < steps.index("mount proc on /proc") < steps.index(
        "pivot_root into the container's root") < steps.index("execute true")
    assert all(step["syscall"] and step["why"] for step in told["steps"])
    now = explain_running(os.getpid(), open_path("/"))
    inodes = {entry["type"]: entry["inode"] for entry in now["namespaces"]}
    assert f"net:[{inodes['network']}]" == os.readlink("/proc/self/ns/net")
    assert now["mounts"][0]["on"]
