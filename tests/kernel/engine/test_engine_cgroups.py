"""The whole engine on the control groups that this machine has: `make test-vm` runs it on version 2.

No network and nothing but busybox is needed. What a limit has become is read from inside the container.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.groups import V2

RUN = ("run", "--network", "none")
ASLEEP = ("box", "sleep", "1000")

# option, file of version 2 and what it holds, file of version 1 and what it holds
LIMITS = [
    ("--memory=64m", "memory.max", "67108864", "memory/memory.limit_in_bytes", "67108864"),
    ("--memory-reservation=32m", "memory.low", "33554432", "memory/memory.soft_limit_in_bytes", "33554432"),
    ("--pids-limit=50", "pids.max", "50", "pids/pids.max", "50"),
    ("--cpus=0.5", "cpu.max", "50000 100000", "cpu/cpu.cfs_quota_us", "50000"),
    ("--cpu-shares=512", "cpu.weight", None, "cpu/cpu.shares", "512"),
    ("--cpuset-cpus=0", "cpuset.cpus", "0", "cpuset/cpuset.cpus", "0"),
]


def seen(daemon: Daemon, name: str, v2: str, v1: str) -> str:
    return daemon.ok("exec", name, "cat", f"/sys/fs/cgroup/{v2 if V2 else v1}")


@pytest.mark.parametrize(("option", "v2", "value2", "v1", "value1"), LIMITS)
def test_a_limit_is_the_kernels(daemon: Daemon, option: str, v2: str, value2: str | None, v1: str, value1: str) -> None:
    daemon.ok(*RUN, "-d", "--name", "limited", option, *ASLEEP)
    found = seen(daemon, "limited", v2, v1)
    if V2 and value2 is None:  # shares and weights have other scales: less than the usual 100
        assert 1 <= int(found) < 100
    else:
        assert found == (value2 if V2 else value1)


def test_update_of_a_running_one_is_the_kernels_too(daemon: Daemon) -> None:
    daemon.ok(*RUN, "-d", "--name", "updated", "-m", "64m", *ASLEEP)
    daemon.ok("update", "--memory", "128m", "--memory-swap", "256m", "--pids-limit", "33", "updated")
    assert seen(daemon, "updated", "memory.max", "memory/memory.limit_in_bytes") == str(128 << 20)
    assert seen(daemon, "updated", "pids.max", "pids/pids.max") == "33"


ALL = [(v2, v1) for _, v2, _, v1, _ in LIMITS] + [("memory.swap.max", "memory/memory.memsw.limit_in_bytes")]


def test_limits_are_taken_away_while_it_runs_and_stay_away(daemon: Daemon) -> None:
    """`update --limit-rm`: each file says what it says in a container without limits, also after its next start."""
    def all_of(name: str) -> list[str]:
        return [seen(daemon, name, *files) if daemon.kist("exec", name, "test", "-e", (
            f"/sys/fs/cgroup/{files[0] if V2 else files[1]}")).returncode == 0 else "-" for files in ALL]

    daemon.ok(*RUN, "-d", "--name", "free", *ASLEEP)
    daemon.ok(*RUN, "-d", "--name", "bound", *(option for option, *_ in LIMITS), *ASLEEP)
    free, bound = all_of("free"), all_of("bound")
    assert all(one != other or one == "-" for one, other in zip(free, bound, strict=True)), bound
    words = [f"--limit-rm={option.removeprefix('--').partition('=')[0]}" for option, *_ in LIMITS]
    assert len(daemon.ok("update", "--dry-run", *words, "bound").splitlines()) >= len(words)
    assert all_of("bound") == bound
    daemon.ok("update", *words, "bound")
    assert all_of("bound") == free
    daemon.ok("restart", "-t", "0", "bound")
    assert all_of("bound") == free


def test_memory_that_runs_out_is_told(daemon: Daemon) -> None:
    done = daemon.kist(*RUN, "--name", "hungry", "-m", "16m", "--memory-swap", "16m", "box", "tail", "/dev/zero")
    assert done.returncode == 137
    assert daemon.ok("inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hungry") == "true 137"


def test_a_fork_bomb_stays_small(daemon: Daemon) -> None:
    done = daemon.kist(*RUN, "--rm", "--pids-limit", "10", "box", "sh", "-c", "while :; do sleep 1000 & done")
    assert done.returncode == 2
    assert "can't fork" in done.stderr


def test_pause_and_stats(daemon: Daemon) -> None:
    daemon.ok(*RUN, "-d", "--name", "busy", "-m", "64m", "box", "sh", "-c", "while :; do :; done")
    daemon.ok("pause", "busy")
    assert daemon.ok("inspect", "-f", "{{.State.Status}}", "busy") == "paused"
    assert daemon.kist("exec", "busy", "true").returncode == 1
    daemon.ok("unpause", "busy")
    stats = json.loads(daemon.ok("stats", "--no-stream", "--format", "json", "busy"))
    assert stats["MemUsage"].endswith("/ 64MiB")
    assert int(stats["PIDs"]) >= 1
    assert float(stats["CPUPerc"].rstrip("%")) > 1


def test_a_killed_server_harms_nothing(daemon: Daemon) -> None:
    daemon.ok(*RUN, "-d", "--name", "survivor", "-m", "64m", "box", "sh", "-c",
              "trap 'exit 9' TERM; while :; do sleep 0.1; done")
    daemon.ok(*RUN, "-d", "--name", "frozen", *ASLEEP)
    daemon.ok("pause", "frozen")
    daemon.restart()
    assert daemon.ok("exec", "survivor", "echo", "here") == "here"
    assert daemon.ok("inspect", "-f", "{{.State.Status}}", "frozen") == "paused"
    daemon.ok("stop", "survivor")
    assert daemon.ok("inspect", "-f", "{{.State.ExitCode}}", "survivor") == "9"
    daemon.ok("rm", "-f", "frozen")


def test_inside_the_group_is_the_root(daemon: Daemon) -> None:
    groups = daemon.ok(*RUN, "--rm", "box", "cat", "/proc/self/cgroup").splitlines()
    assert groups
    assert all(line.endswith(":/") for line in groups)
    parent = daemon.cgroup.lstrip("/")
    assert not any(any(p.is_dir() for p in place.iterdir()) for place in Path("/sys/fs/cgroup").glob(f"**/{parent}"))
