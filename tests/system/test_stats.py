"""`stats` against the kernel's own files: what the API tells lies between two looks at them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kist.client
from support.daemon import Daemon

V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
BUSY = ["sh", "-c", "sleep 1000 & while :; do :; done"]


@pytest.fixture
def k(daemon: Daemon) -> Iterator[kist.client.Kist]:
    with kist.client.connect(f"unix://{daemon.socket}") as client:
        yield client


def group(daemon: Daemon, container: str, controller: str) -> Path:
    return Path("/sys/fs/cgroup") / ("" if V2 else controller) / daemon.cgroup.lstrip("/") / container


def cpu_ns(daemon: Daemon, container: str) -> int:
    if V2:
        text = (group(daemon, container, "") / "cpu.stat").read_text()
        return int(text.split()[1]) * 1000
    return int((group(daemon, container, "cpuacct") / "cpuacct.usage").read_text())


def memory(daemon: Daemon, container: str) -> int:
    return int((group(daemon, container, "memory") / ("memory.current" if V2 else "memory.usage_in_bytes")).read_text())


def received(container: kist.client.Container) -> int:
    """What the container's own kernel says about its interface."""
    lines = container.exec("cat /proc/net/dev").check().text.splitlines()
    return int(next(line for line in lines if "eth0" in line).split(":")[1].split()[0])


def sample(k: kist.client.Kist, container: str, **how: Any) -> dict[str, Any]:
    return next(k.containers.stats(container, **how))


def test_the_figures_are_the_kernels(daemon: Daemon, k: kist.client.Kist) -> None:
    with k.run("busybox", BUSY, memory=64 << 20) as c:
        cpu, net = cpu_ns(daemon, c.id), received(c)
        found = sample(k, c.id, stream=False, one_shot=True)
        assert cpu < found["cpu_stats"]["cpu_usage"]["total_usage"] <= cpu_ns(daemon, c.id)
        assert net <= found["networks"]["eth0"]["rx_bytes"] <= received(c)
        assert found["pids_stats"]["current"] == 2
        assert found["memory_stats"]["limit"] == 64 << 20
        # The kernel counts in batches per CPU: the same within a few of them.
        assert abs(found["memory_stats"]["usage"] - memory(daemon, c.id)) <= 4 << 20
        assert found["memory_stats"]["stats"]
        assert found["precpu_stats"]["cpu_usage"]["total_usage"] == 0


def test_a_stream_tells_the_sample_before(k: kist.client.Kist) -> None:
    with k.run("busybox", BUSY) as c:
        samples = k.containers.stats(c.id)
        first, second = next(samples), next(samples)
        assert second["precpu_stats"] == first["cpu_stats"]
        assert second["preread"] == first["read"] < second["read"]
        c.stop(0)
        assert next(one for one in samples if not one["memory_stats"])["pids_stats"] == {}
        c.remove()
        assert list(samples) == []  # it ends with its container


def test_one_sample_has_a_predecessor_unless_it_is_one_shot(k: kist.client.Kist) -> None:
    with k.run("busybox", BUSY) as c:
        one = sample(k, c.id, stream=False)
        assert 0 < one["precpu_stats"]["cpu_usage"]["total_usage"] < one["cpu_stats"]["cpu_usage"]["total_usage"]
        assert sample(k, c.id, stream=False, one_shot=True)["preread"] == "0001-01-01T00:00:00Z"


def test_the_commands_options(daemon: Daemon) -> None:
    running = daemon.ok("run", "-d", "--name", "runs", "busybox", "sleep", "1000")
    daemon.ok("create", "--name", "waits", "busybox", "true")
    assert daemon.ok("stats", "--no-stream", "--format", "{{.Name}}") == "runs"
    assert daemon.ok("stats", "-a", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines()[0] == \
        "waits 0B / 0B"
    assert json.loads(daemon.ok("stats", "--no-stream", "--no-trunc", "--format", "json", "runs"))["ID"] == running
    missing = daemon.kist("stats", "--no-stream", "nope")
    assert (missing.returncode, missing.stderr) == (1, "Error response from daemon: No such container: nope\n")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on a block device of the test's own."""
    (tmp_path / "disk.img").write_bytes(bytes(24 << 20))
    subprocess.run(["mkfs.ext4", "-q", str(tmp_path / "disk.img")], check=True)
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(tmp_path / "disk.img"), str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_what_is_read_from_and_written_to_a_block_device_counts(
        daemon: Daemon, k: kist.client.Kist, disk: Path) -> None:
    """Past the page cache: what goes through it, the kernel writes later, in nobody's name (cgroup v1)."""
    device = disk.stat().st_dev
    with k.run("busybox", ["sleep", "1000"], volumes={str(disk): "/disk"}) as c:
        c.exec(["dd", "if=/dev/zero", "of=/disk/file", "bs=64k", "count=48", "oflag=direct"]).check()
        c.exec(["dd", "if=/disk/file", "of=/dev/null", "bs=64k", "count=16", "iflag=direct"]).check()
        found = sample(k, c.id, stream=False, one_shot=True)["blkio_stats"]
        shown = daemon.docker("stats", "--no-stream", "--format", "{{.BlockIO}}", c.id).stdout
        mine = {name: {row["op"].lower(): row["value"] for row in found[name]
                       if (row["major"], row["minor"]) == (os.major(device), os.minor(device))}
                for name in ("io_service_bytes_recursive", "io_serviced_recursive")}
    assert 3 << 20 <= mine["io_service_bytes_recursive"]["write"] < 4 << 20
    assert 1 << 20 <= mine["io_service_bytes_recursive"]["read"] < 2 << 20
    if "write" in mine["io_serviced_recursive"]:
        assert mine["io_serviced_recursive"]["write"] >= 48
        assert mine["io_serviced_recursive"]["read"] >= 16
    read, written = (text.removesuffix("MB") for text in shown.strip().split(" / "))
    assert float(read) >= 1
    assert float(written) >= 3
