"""The client starts the server when there is none, says so once, and two at once end with one server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from support.daemon import KIST, Daemon
from support.processes import mentioning


def without_host(daemon: Daemon) -> dict[str, str]:
    """Nobody names a server: it is looked for where the configuration file says."""
    return {name: value for name, value in daemon.env.items() if name not in ("KIST_HOST", "DOCKER_HOST")}


def servers(daemon: Daemon) -> list[int]:
    return [pid for pid, line in mentioning(str(daemon.config)) if "kist.server" in line]


def test_a_server_is_started_and_said_so_once(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.kill()
    first = daemon.kist("--config", str(daemon.config), "ps", "-q", env=without_host(daemon))
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr.startswith("kist: started the server (pid ")
    assert len(first.stderr.splitlines()) == 1
    second = daemon.kist("--config", str(daemon.config), "ps", "-q", env=without_host(daemon))
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(servers(daemon)) == 1


def test_two_clients_at_once_end_with_one_server(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.kill()
    clients = [subprocess.Popen([str(KIST), "--config", str(daemon.config), "ps", "-q"], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=without_host(daemon)) for _ in range(4)]
    said = [client.communicate(timeout=60) for client in clients]
    assert [client.returncode for client in clients] == [0] * 4, said
    assert sum(b"kist: started the server" in err for _, err in said) == 1, said
    assert len(servers(daemon)) == 1


def test_a_server_that_can_t_start_is_told_about(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.kill()
    config = daemon.folder / "wrong.toml"
    config.write_text(f'run = "{daemon.run}"\nnonsense = 1\n')
    done = daemon.kist("--config", str(config), "ps", env=without_host(daemon))
    assert done.returncode == 1
    assert "kist: the server did not start; its log" in done.stderr
    assert "nonsense" in done.stderr
    config.write_text(f'run = "{daemon.run}"\nrubbish = 1\n')
    again = daemon.kist("--config", str(config), "ps", env=without_host(daemon))
    assert "rubbish" in again.stderr and "nonsense" not in again.stderr  # what it said this time
    assert "Traceback" not in done.stderr
