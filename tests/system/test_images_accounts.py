"""A Hub with accounts: signing in, what is refused before and after, by Docker's command and Kist's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.hub import Hub
from support.processes import ENVIRONMENT, PYTHON


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Hub]:
    """A Hub where alice may push below alice/."""
    data = tmp_path / "hub"
    subprocess.run([PYTHON, "-m", "kist.hub.admin", "--data", str(data), "user", "add", "alice"],
                   input=b"correct horse\n", check=True, env=ENVIRONMENT)
    running = Hub(data, tmp_path / "hub.log", "--accounts")
    yield running
    running.close()


@pytest.mark.parametrize("program", ["docker", "kist"])
def test_login_push_pull_logout(daemon: Daemon, guarded: Hub, program: str) -> None:
    command = getattr(daemon, program)
    name = f"{guarded.host}/alice/box:1"
    daemon.ok("tag", "busybox", name)
    try:
        refused = command("push", name)
        assert refused.returncode == 1
        assert "denied" in refused.stderr or "unauthorized" in refused.stderr
        wrong = command("login", "-u", "alice", "--password-stdin", guarded.host, input="wrong")
        assert wrong.returncode == 1
        assert "unauthorized" in wrong.stderr
        right = command("login", "-u", "alice", "--password-stdin", guarded.host, input="correct horse")
        assert right.returncode == 0
        assert right.stdout.strip().endswith("Login Succeeded")
        pushed = command("push", name)
        assert pushed.returncode == 0, pushed.stderr
        daemon.ok("rmi", name)
        assert command("pull", "-q", name).returncode == 0
        foreign = f"{guarded.host}/bob/box:1"
        daemon.ok("tag", "busybox", foreign)
        assert command("push", foreign).returncode == 1
        daemon.ok("rmi", foreign)
        out = command("logout", guarded.host)
        assert (out.returncode, out.stdout) == (0, f"Removing login credentials for {guarded.host}\n")
        assert command("push", name).returncode == 1
    finally:
        daemon.kist("rmi", name)
