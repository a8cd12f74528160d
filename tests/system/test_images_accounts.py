"""A Hub with accounts: signing in, what is refused before and after, by Docker's command and Kist's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs
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
        assert command("logout", f"https://{guarded.host}/v2/").stdout == out.stdout
    finally:
        daemon.kist("rmi", name)


HELPER = """#!/bin/sh
kept="$(dirname "$0")/kept"
echo "$1" >> "$(dirname "$0")/calls"
case $1 in
    store) cat > "$kept" ;;
    get) cat "$kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
    erase) rm -f "$kept" ;;
esac
"""


@pytest.mark.parametrize("program", [needs.DOCKER_28, "kist"])
def test_a_credential_helper_keeps_the_password(daemon: Daemon, guarded: Hub, tmp_path: Path, program: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    helper = folder / "docker-credential-mine"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    (tmp_path / "docker").mkdir()
    config = tmp_path / "docker/config.json"
    config.write_text('{"credsStore": "mine"}')
    env = {**daemon.env, "PATH": f"{folder}:{daemon.env['PATH']}", "DOCKER_CONFIG": str(tmp_path / "docker"),
           "HOME": str(tmp_path)}
    name = f"{guarded.host}/alice/box:2"
    daemon.ok("tag", "busybox", name)
    try:
        done = getattr(daemon, program)("login", "-u", "alice", "--password-stdin", guarded.host, env=env,
                                        input="correct horse\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "Login Succeeded\n", "")
        assert (folder / "kept").read_text().count("correct horse") == 1
        for other in ("docker", "kist"):    # whoever stored it, the other finds it
            assert getattr(daemon, other)("push", name, env=env).returncode == 0
        for file in (config, tmp_path / ".config/kist/auth.json"):
            assert not file.exists() or "correct" not in file.read_text()
        again = getattr(daemon, program)("login", guarded.host, env=env)
        assert again.returncode == 0
        assert again.stdout == "Login Succeeded\n"
        assert again.stderr.startswith("Authenticating with existing credentials... [Username: alice]\n")
        assert getattr(daemon, program)("logout", guarded.host, env=env).returncode == 0
        assert not (folder / "kept").exists()
        assert getattr(daemon, program)("push", name, env=env).returncode == 1
        helper.write_text("#!/bin/sh\necho broken; exit 3")
        refused = getattr(daemon, program)("login", "-u", "alice", "--password-stdin", guarded.host, env=env,
                                           input="correct horse")
        assert (refused.returncode, refused.stderr.strip()) == (
            1, "Error saving credentials: error storing credentials - err: exit status 3, out: `broken`")
    finally:
        daemon.kist("rmi", name)
