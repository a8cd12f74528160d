"""What is done when a container is unhealthy, and what a healthcheck costs while it sleeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.daemon import Daemon
from support.waiting import until

CHECK = ("--health-cmd", "test -e /well", "--health-interval", "100ms", "--health-retries", "2")


def inspect(daemon: Daemon, name: str) -> Any:
    return json.loads(daemon.ok("inspect", name))[0]


def actions(daemon: Daemon, name: str) -> list[str]:
    told = daemon.ok("events", "--since", "10m", "--until", "0s", "--filter", "type=container", "--filter",
                     f"container={inspect(daemon, name)['Id']}", "--format", "{{.Action}}")
    return [line for line in told.splitlines() if not line.startswith("exec_")]


def test_none_is_the_default_and_does_nothing(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "ill", *CHECK, "--health-on-failure", "none", "busybox", "sleep", "1000")
    until(lambda: inspect(daemon, "ill")["State"]["Health"]["FailingStreak"] > 4)
    assert inspect(daemon, "ill")["State"]["Running"]
    assert "HealthOnFailure" not in inspect(daemon, "ill")["HostConfig"]


def test_stop_stops_it_for_good(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--init", "--name", "ill", "--restart", "always", *CHECK, "--health-on-failure", "stop",
              "busybox", "sleep", "1000")
    assert inspect(daemon, "ill")["HostConfig"]["HealthOnFailure"] == "stop"
    until(lambda: inspect(daemon, "ill")["State"]["Status"] == "exited")
    assert inspect(daemon, "ill")["State"]["ExitCode"] == 143
    until(lambda: "stop" in actions(daemon, "ill"))
    assert actions(daemon, "ill") == ["create", "start", "health_status: unhealthy", "kill", "die", "stop"]


def test_kill_kills_it_and_the_policy_decides(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "ill", *CHECK, "--health-on-failure", "kill", "busybox", "sleep", "1000")
    until(lambda: inspect(daemon, "ill")["State"]["Status"] == "exited")
    assert inspect(daemon, "ill")["State"]["ExitCode"] == 137
    daemon.ok("run", "-d", "--name", "again", "--restart", "on-failure:2", *CHECK, "--health-on-failure", "kill",
              "busybox", "sleep", "1000")
    until(lambda: inspect(daemon, "again")["State"]["Status"] == "exited")
    assert inspect(daemon, "again")["RestartCount"] == 2


def test_restart_needs_no_policy_and_goes_on_until_it_is_well(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--init", "--rm", "--name", "ill", *CHECK, "--health-on-failure", "restart", "busybox", "sh",
              "-c", "echo x >>/runs; test $(wc -l </runs) = 3 && touch /well; exec sleep 1000")
    until(lambda: inspect(daemon, "ill")["State"].get("Health", {}).get("Status") == "healthy")
    found = inspect(daemon, "ill")
    assert found["RestartCount"] == 2 and daemon.ok("exec", "ill", "wc", "-l", "/runs") == "3 /runs"
    assert actions(daemon, "ill")[:6] == ["create", "start", "health_status: unhealthy", "kill", "die", "start"]
    daemon.ok("stop", "ill")
    until(lambda: daemon.kist("inspect", "ill").returncode)


def test_dockers_clients_say_it_by_an_annotation(daemon: Daemon) -> None:
    done = daemon.docker("run", "-d", "--name", "ill", *CHECK, "--annotation", "kist.health-on-failure=kill", "busybox",
                         "sleep", "1000")
    if "unknown flag: --annotation" in done.stderr:  # Debian 12's docker command
        pytest.skip("this docker command has no annotations")
    until(lambda: inspect(daemon, "ill")["State"]["Status"] == "exited")


def test_update_changes_it_on_a_running_container(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "ill", *CHECK, "busybox", "sleep", "1000")
    until(lambda: inspect(daemon, "ill")["State"]["Health"]["Status"] == "unhealthy")
    assert daemon.ok("update", "--dry-run", "--health-on-failure", "kill", "ill") \
        == "ill: on failure of health: none → kill"
    daemon.ok("update", "--health-on-failure", "kill", "ill")
    until(lambda: inspect(daemon, "ill")["State"]["Status"] == "exited")


def test_what_makes_no_sense_is_refused(daemon: Daemon) -> None:
    done = daemon.kist("create", "--health-on-failure", "explode", *CHECK, "busybox")
    assert done.returncode == 1 and 'invalid on-failure action "explode"' in done.stderr
    done = daemon.kist("create", "--health-on-failure", "restart", "busybox")
    assert done.returncode == 1 and "cannot set on-failure action to restart without a health check" in done.stderr


def test_it_holds_over_the_servers_death(make_daemon: Callable[..., Daemon]) -> None:
    """Killed before, and while, the restart is done: a new server finishes it, and looks on."""
    daemon = make_daemon()
    daemon.ok("pull", "-q", "busybox")
    # It does not end by SIGTERM: the restart waits for the stop timeout, and the server is killed meanwhile.
    daemon.ok("run", "-d", "--name", "ill", "--stop-timeout", "2", *CHECK, "--health-on-failure", "restart", "busybox",
              "sh", "-c", "trap '' TERM; touch /well; echo x >>/runs; while true; do sleep 0.1; done")
    until(lambda: inspect(daemon, "ill")["State"]["Health"]["Status"] == "healthy")
    daemon.restart()
    daemon.ok("exec", "ill", "rm", "/well")
    until(lambda: "kill" in actions(daemon, "ill"))
    daemon.restart()
    until(lambda: daemon.kist("exec", "ill", "wc", "-l", "/runs").stdout == "2 /runs\n")
    until(lambda: inspect(daemon, "ill")["State"]["Health"]["Status"] == "healthy")
    assert inspect(daemon, "ill")["RestartCount"] == 1


def test_a_healthcheck_is_no_process_while_it_sleeps(daemon: Daemon) -> None:
    """After a check has been made, the container, its monitor and the server have the processes they had before."""
    daemon.ok("run", "-d", "--name", "plain", "busybox", "sleep", "1000")
    daemon.ok("run", "-d", "--name", "well", "--health-cmd", "true", "--health-interval", "1h", "--health-start-period",
              "1h", "--health-start-interval", "100ms", "busybox", "sleep", "1000")
    until(lambda: inspect(daemon, "well")["State"]["Health"]["Status"] == "healthy")

    def around(name: str) -> list[int]:
        """How many processes the container's monitor has, and threads they have."""
        init = inspect(daemon, name)["State"]["Pid"]
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{init}/status").read_text().splitlines())
        monitor = status["PPid"]
        children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
        return [len(children), len(list(Path(f"/proc/{monitor}/task").iterdir())),
                len(Path(f"/proc/{init}/task/{init}/children").read_text().split())]

    until(lambda: around("well") == around("plain") == [1, 1, 0])
