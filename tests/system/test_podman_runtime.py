"""Podman with our runtime in place of crun: its own commands, its own expectations (more: test_podman_suite.py)."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import needs
from support.podman import Done, Podman, home

Run = Callable[..., Done]


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    with home(tmp_path_factory.mktemp("podman")) as made:
        yield made


@pytest.fixture
def box(podman: Podman) -> Run:
    return podman.box


@pytest.fixture
def running(podman: Podman) -> Iterator[str]:
    with podman.running() as name:
        yield name


def test_streams_and_statuses(box: Run) -> None:
    done = box("-i", "--", "sh", "-c", "cat; echo err >&2; exit 6", text="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (6, "in\n", "err\n")
    assert box("--", "nope").returncode == 127
    assert box("--", "/etc").returncode == 126
    assert box("--", "sh", "-c", "kill -9 $$; sleep 1").returncode in (0, 137)


def test_terminal(box: Run) -> None:
    done = box("-it", "--", "sh", "-c", "tty; test -t 0 && test -t 1 && echo both", tty=True)
    assert "/dev/pts/0" in done.stdout
    assert "both" in done.stdout


def test_exec(podman: Podman, running: str) -> None:
    assert podman("exec", running, "sh", "-c", "echo $$; exit 3").returncode == 3
    assert podman("exec", "-u", "1000:1000", "-w", "/tmp", "-e", "A=b", running, "sh", "-c",
                  "id -u; pwd; echo $A").stdout.split() == ["1000", "/tmp", "b"]
    assert podman("exec", running, "nope").returncode == 127
    assert "/dev/pts/0" in podman("exec", "-it", running, "tty", tty=True).stdout
    assert podman("exec", "-i", running, "cat", text="through").stdout == "through"


def test_limits(box: Run) -> None:
    out = box("-m", "64m", "--pids-limit", "50", "--cpus", "0.5", "--", "sh", "-c", "cd /sys/fs/cgroup; cat "
              "memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us || cat memory.max pids.max cpu.max")
    assert out.stdout.split()[:3] == [str(64 << 20), "50", "50000"], out
    assert box("-m", "20m", "--", "sh", "-c", "head -c 100000000 /dev/zero | wc -c; echo $(tr '\\0' x </dev/zero)"
               ).returncode != 0


def test_volumes(box: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("data\n")
    assert box("-v", f"{tmp_path}:/v:ro", "--", "sh", "-c", "cat /v/f; touch /v/x 2>/dev/null || echo ro"
               ).stdout == "data\nro\n"
    assert box("-v", f"{tmp_path}:/v", "--tmpfs", "/t:size=1m", "--", "touch", "/v/made", "/t/x").returncode == 0
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(("options", "script", "expected"), [
    (["--hostname", "hh"], "hostname", "hh"), (["--read-only"], "touch /x 2>&1 | grep -c Read-only", "1"),
    (["--cap-drop", "all"], "grep CapEff /proc/self/status", "CapEff:\t0000000000000000"),
    (["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    (["--user", "1000:1001"], "id -u; id -g", "1000\n1001"),
    (["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward", "1"),
    (["--device", "/dev/kmsg:/dev/k"], "stat -c %t:%T /dev/k", "1:b"),
    (["--shm-size", "1m"], "df -k /dev/shm | grep -c ' 1024 '", "1"),
    (["--init"], "head -c 16 /proc/1/cmdline", "/run/podman-init"),
    (["--uidmap", "0:100000:65536"], "cat /proc/self/uid_map; id -u", "0     100000      65536\n0"),
    (["--privileged"], "grep CapEff /proc/self/status | grep -vc 00000000a80425fb", "1"),
])
def test_options(box: Run, options: list[str], script: str, expected: str) -> None:
    done = box(*options, "--", "sh", "-c", script)
    assert done.stdout.strip() == expected, done.stderr


def test_life(podman: Podman, running: str) -> None:
    state = ("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", running)
    assert podman("pause", running).returncode == 0
    assert podman(*state).stdout.startswith("paused")
    assert podman("unpause", running).returncode == 0
    assert "sleep" in podman("top", running).stdout
    assert podman("stats", "--no-stream", running).returncode == 0
    assert podman("stop", "-t", "0", running).returncode == 0
    assert podman(*state).stdout == "exited 137\n"
    assert podman("start", running).returncode == 0
    assert podman("kill", running).returncode == 0
    assert podman("wait", running).stdout == "137\n"
    assert podman("rm", running).returncode == 0


def test_healthcheck_and_cp(podman: Podman) -> None:
    name = "h" + uuid.uuid4().hex[:8]
    podman("run", "-d", "--name", name, "--network", "none", "--health-cmd", "cat /healthy", "--health-interval",
           "disable", "box", "sleep", "300").check_returncode()
    try:
        assert podman("healthcheck", "run", name).returncode == 1
        podman("exec", name, "touch", "/healthy")
        assert podman("healthcheck", "run", name).returncode == 0
    finally:
        podman("rm", "--force", "--time", "0", name)


def test_pod(podman: Podman) -> None:
    """The containers of a pod share the network, uts and ipc namespaces of its first one, joined by path."""
    name = "p" + uuid.uuid4().hex[:8]
    podman("pod", "create", "--name", name, "--network", "none", "--infra-image", "box", "--infra-command",
           "/bin/sleep 300").check_returncode()
    try:
        podman("run", "-d", "--pod", name, "--name", f"{name}a", "box", "sleep", "300").check_returncode()
        podman("run", "-d", "--pod", name, "--name", f"{name}b", "box", "sleep", "300").check_returncode()
        script = "for n in net uts ipc pid; do stat -Lc %i /proc/self/ns/$n; done"
        first, second = (podman("exec", f"{name}{letter}", "sh", "-c", script).stdout.split() for letter in "ab")
        assert first[:3] == second[:3]
        assert first[3] != second[3]
    finally:
        podman("pod", "rm", "--force", "--time", "0", name)


def test_published_port(podman: Podman) -> None:
    needs.program("slirp4netns")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    name = "n" + uuid.uuid4().hex[:8]
    started = podman("run", "-d", "--name", name, "--network", "slirp4netns:port_handler=slirp4netns", "-p",
                     f"127.0.0.1:{port}:80", "box", "sh", "-c", "while :; do echo served | nc -l -p 80; done")
    try:
        assert started.returncode == 0, started.stderr
        got, deadline = b"", time.monotonic() + 20
        while not got and time.monotonic() < deadline:  # between two of its calls nc doesn't listen
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
                    got = sock.recv(100)
            except OSError:
                time.sleep(0.05)
        assert got == b"served\n"
    finally:
        config = Path(podman("inspect", "--format", "{{.OCIConfigPath}}", name).stdout.strip())
        spaces = json.loads(config.read_text())["linux"]["namespaces"] if config.is_file() else []
        podman("rm", "--force", "--time", "0", name)
        for space in spaces:  # its mount was another command's, in that one's mount namespace: the file stays
            if space["type"] == "network":
                Path(space["path"]).unlink(missing_ok=True)
