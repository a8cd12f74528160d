"""`--cpu-rt-period`, `--cpu-rt-runtime`: where the kernel has such groups what they are set to, else Docker's words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.daemon import Daemon

CPU = Path("/sys/fs/cgroup/cpu")
HERE = (CPU / "cpu.rt_runtime_us").exists()
ASLEEP = ("busybox", "sleep", "1000")


def test_the_kernel_is_told(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(settings="cpu-rt-runtime = 20000")
    daemon.ok("pull", "-q", "busybox")
    done = daemon.kist("run", "-d", "--name", "box", "--cpu-rt-period", "500000", "--cpu-rt-runtime", "4000", *ASLEEP)
    if not HERE:
        assert (done.returncode, "Your kernel does not support CPU real-time scheduler" in done.stderr) == (125, True)
        return
    assert done.returncode == 0, done.stderr
    group = CPU / daemon.cgroup.strip("/") / daemon.ok("inspect", "-f", "{{.Id}}", "box")
    told = [(group / file).read_text().strip() for file in ("cpu.rt_period_us", "cpu.rt_runtime_us")]
    assert told == ["500000", "4000"]
    daemon.ok("update", "--cpu-rt-runtime", "6000", "box")
    assert (group / "cpu.rt_runtime_us").read_text().strip() == "6000"
    more = daemon.kist("run", "--rm", "--cpu-rt-runtime", "900000", *ASLEEP)
    assert (more.returncode, "cpu.rt_runtime_us" in more.stderr) == (125, True), more.stderr
    daemon.ok("rm", "-f", "box")


@pytest.mark.skipif(not HERE, reason="this kernel has no real-time groups: the test above holds its words")
def test_nothing_to_share_and_no_sense(daemon: Daemon) -> None:
    done = daemon.kist("run", "--rm", "--cpu-rt-runtime", "1000", "busybox", "true")
    assert (done.returncode, "cpu.rt_runtime_us" in done.stderr) == (125, True), done.stderr
    done = daemon.kist("create", "--cpu-rt-period", "1000", "--cpu-rt-runtime", "2000", "busybox")
    assert "cpu real-time runtime cannot be higher than cpu real-time period" in done.stderr
