"""The kernel's files of both cgroup versions, through the runtime's reader, as the API shows them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kist.engine import stats
from kist.runtime.cgroup import v1_stats, v2_stats

V1 = {
    "cpu/cpu.stat": "nr_periods 7\nnr_throttled 2\nthrottled_time 5000\n",
    "cpuacct/cpuacct.usage": "14697275\n", "cpuacct/cpuacct.usage_percpu": "2751684 11945591 \n",
    "cpuacct/cpuacct.stat": "user 1\nsystem 2\n",
    "memory/memory.usage_in_bytes": "3764224\n", "memory/memory.max_usage_in_bytes": "4968448\n",
    "memory/memory.limit_in_bytes": "67108864\n", "memory/memory.failcnt": "0\n",
    "memory/memory.stat": "cache 3162112\ntotal_inactive_file 3145728\n",
    "pids/pids.current": "3\n", "pids/pids.max": "max\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 512\n8:0 Total 4608\nTotal 4608\n",
    "blkio/blkio.throttle.io_serviced_recursive": "8:0 Read 1\nTotal 1\n",
}
V2 = {
    "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 7\nnr_throttled 2\nthrottled_usec 5\n",
    "memory.current": "3764224\n", "memory.peak": "4968448\n", "memory.max": "max\n",
    "memory.stat": "anon 49152\nfile 3162112\ninactive_file 3145728\n",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 4\noom_kill 1\n",
    "pids.current": "3\n", "pids.max": "max\n",
    "io.stat": "8:0 rbytes=4096 wbytes=512 rios=1 wios=2 dbytes=0 dios=0\n254:1 \n",
}


def shown(folder: Path, version: int, files: dict[str, str], **more: Any) -> dict[str, Any]:
    for name, text in {**files, **more}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    found = v2_stats.stats(str(folder)) if version == 2 else v1_stats.stats(
        {name: str(folder / name) for name in ("cpu", "cpuacct", "memory", "pids", "blkio")})
    container: Any = SimpleNamespace(name="web", id="1" * 64)
    return stats.view(container, found, None, memory=8 << 30, cpus=2, system=10**12, version=version)


def test_version_1(tmp_path: Path) -> None:
    found = shown(tmp_path, 1, V1)
    assert found["cpu_stats"] == {
        "cpu_usage": {"total_usage": 14697275, "usage_in_kernelmode": 20_000_000, "usage_in_usermode": 10_000_000,
                      "percpu_usage": [2751684, 11945591]},
        "system_cpu_usage": 10**12, "online_cpus": 2,
        "throttling_data": {"periods": 7, "throttled_periods": 2, "throttled_time": 5000}}
    assert found["memory_stats"] == {"usage": 3764224, "max_usage": 4968448, "limit": 67108864,
                                     "stats": {"cache": 3162112, "total_inactive_file": 3145728}}
    assert found["pids_stats"] == {"current": 3}
    blkio = found["blkio_stats"]
    assert blkio["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "Read", "value": 4096}, {"major": 8, "minor": 0, "op": "Write", "value": 512},
        {"major": 8, "minor": 0, "op": "Total", "value": 4608}]
    assert blkio["io_serviced_recursive"] == [{"major": 8, "minor": 0, "op": "Read", "value": 1}]
    assert blkio["io_time_recursive"] == []


def test_version_2(tmp_path: Path) -> None:
    found = shown(tmp_path, 2, V2)
    assert found["cpu_stats"]["cpu_usage"] == {"total_usage": 1_500_000, "usage_in_kernelmode": 500_000,
                                               "usage_in_usermode": 1_000_000}
    assert found["cpu_stats"]["throttling_data"]["throttled_time"] == 5000
    assert found["memory_stats"] == {
        "usage": 3764224, "max_usage": 4968448, "limit": 8 << 30, "failcnt": 4,
        "stats": {"anon": 49152, "file": 3162112, "inactive_file": 3145728}}
    assert found["pids_stats"] == {"current": 3, "limit": 2**64 - 1}
    blkio = found["blkio_stats"]
    assert blkio["io_service_bytes_recursive"] == [
        {"major": 8, "minor": 0, "op": "read", "value": 4096}, {"major": 8, "minor": 0, "op": "write", "value": 512}]
    assert blkio["io_time_recursive"] is None


@pytest.mark.parametrize(("version", "files", "name"), [(1, V1, "pids/pids.max"), (2, V2, "pids.max")])
def test_a_limit_of_processes(tmp_path: Path, version: int, files: dict[str, str], name: str) -> None:
    assert shown(tmp_path, version, files, **{name: "9\n"})["pids_stats"] == {"current": 3, "limit": 9}


def test_one_that_does_not_run_has_no_figures() -> None:
    container: Any = SimpleNamespace(name="web", id="1" * 64)
    found = stats.view(container, {}, None, memory=1, cpus=2, system=0, version=1)
    assert (found["memory_stats"], found["pids_stats"]) == ({}, {})
    assert set(found["blkio_stats"].values()) == {None}
    assert found["read"] == "0001-01-01T00:00:00Z"
