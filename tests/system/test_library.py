"""The Hub's library, for real: debian and redis built, pulled by a mirror's name and run; skopeo beside it."""

from __future__ import annotations

import fcntl
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.hub import Hub, fill
from support.processes import ENVIRONMENT


@pytest.fixture(scope="module")
def full_library(shared_folder: Path) -> Path:
    data = shared_folder / "full-library"
    with (shared_folder / "full-library.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fill(data, "debian", "redis")
    return data


@pytest.fixture(scope="module")
def full_hub(full_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    running = Hub(full_library, tmp_path_factory.mktemp("hub") / "hub.log")
    yield running
    running.close()


def _digest(hub: Hub, name: str) -> str:
    done = subprocess.run(["skopeo", "inspect", "--tls-verify=false", f"docker://{hub.host}/library/{name}:latest"],
                          env=ENVIRONMENT, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout)["Digest"])


def test_debian_and_redis_built_twice_give_the_same_digests(full_hub: Hub, tmp_path: Path) -> None:
    fill(tmp_path / "again", "debian", "redis")
    again = Hub(tmp_path / "again", tmp_path / "hub.log")
    try:
        for name in ("debian", "redis"):
            assert _digest(again, name) == _digest(full_hub, name)
    finally:
        again.close()


def test_a_redis_server_in_one_container_and_its_client_by_exec(
        full_hub: Hub, make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(mirror=full_hub.url)
    daemon.ok("run", "-d", "--name", "store", "-m", "256m", "redis", timeout=120)
    deadline = time.monotonic() + 30
    while daemon.kist("exec", "store", "redis-cli", "ping").stdout.strip() != "PONG":
        assert time.monotonic() < deadline, daemon.kist("logs", "store").stdout
        time.sleep(0.1)
    assert daemon.ok("exec", "store", "redis-cli", "set", "greeting", "hello") == "OK"
    assert daemon.ok("exec", "-i", "store", "redis-cli", "-x", "set", "piped", input="from outside") == "OK"
    assert daemon.ok("exec", "store", "redis-cli", "get", "greeting") == "hello"
    assert daemon.ok("exec", "store", "redis-cli", "get", "piped") == "from outside"
    assert "Ready to accept connections" in daemon.ok("logs", "store")
    daemon.ok("stop", "store")
    state = json.loads(daemon.ok("inspect", "store"))[0]["State"]
    assert state["ExitCode"] == 0, "redis heeds SIGTERM"


def test_debian_runs_apt_and_bash(full_hub: Hub, make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(mirror=full_hub.url)
    out = daemon.ok("run", "--rm", "debian", "bash", "-c", "grep ^ID= /etc/os-release; apt-get --version | head -1",
                    timeout=120)
    assert out.splitlines()[0] == "ID=debian"
    assert out.splitlines()[1].startswith("apt ")


def test_the_hub_is_named_when_docker_io_is_out_of_reach(daemon: Daemon, make_daemon: Callable[..., Daemon]) -> None:
    lonely = make_daemon(mirror="http://127.0.0.1:1")
    done = lonely.kist("run", "--rm", "redis", timeout=120)
    assert done.returncode == 125
    assert "kist hub" in done.stderr, done.stderr
    assert "library" in done.stderr
