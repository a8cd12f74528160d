"""Killing the server in the middle of anything harms no container."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.daemon import KIST, Daemon
from system.api_http import ask

Make = Callable[..., Daemon]


@pytest.fixture
def box(make_daemon: Make) -> Daemon:
    daemon = make_daemon()
    daemon.ok("pull", "-q", "busybox")
    return daemon


def _state(daemon: Daemon, name: str) -> dict[str, object]:
    state: dict[str, object] = json.loads(daemon.ok("inspect", name))[0]["State"]
    return state


def _until(check: Callable[[], object], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


TICKER = "i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done"


def test_a_running_container_goes_on_and_its_log_too(box: Daemon) -> None:
    box.ok("run", "-d", "--name", "survivor", "busybox", "sh", "-c", TICKER)
    before = _state(box, "survivor")
    box.kill()
    time.sleep(0.5)
    box.start()
    after = _state(box, "survivor")
    assert (after["Status"], after["Pid"], after["StartedAt"]) == ("running", before["Pid"], before["StartedAt"])
    lines = box.ok("logs", "survivor").splitlines()
    assert lines == [f"tick {i + 1}" for i in range(len(lines))], "the log has a gap"
    _until(lambda: len(box.ok("logs", "survivor").splitlines()) > len(lines))


def test_exec_stop_and_wait_work_on_an_adopted_container(box: Daemon) -> None:
    box.ok("run", "-d", "--name", "survivor", "busybox", "sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done")
    box.restart()
    assert box.ok("exec", "survivor", "echo", "inside") == "inside"
    waiter = subprocess.Popen([str(KIST), "wait", "survivor"], env=box.env, stdout=subprocess.PIPE, text=True)
    box.ok("stop", "survivor")
    assert waiter.communicate(timeout=20)[0].strip() == "5"
    assert _state(box, "survivor")["ExitCode"] == 5


def test_attach_works_on_an_adopted_container(box: Daemon) -> None:
    box.ok("run", "-d", "-i", "--name", "survivor", "busybox", "cat")
    box.restart()
    client = subprocess.Popen([str(KIST), "attach", "survivor"], env=box.env, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert client.stdin and client.stdout
    client.stdin.write(b"over the gap\n")
    client.stdin.flush()
    assert client.stdout.readline() == b"over the gap\n"
    box.ok("kill", "survivor")
    assert client.wait(20) == 137


def test_an_execs_terminal_can_be_resized_by_the_next_server(box: Daemon) -> None:
    box.ok("run", "-d", "--name", "survivor", "busybox", "sleep", "1000")
    wait = "while [ ! -e /go ]; do sleep 0.05; done; stty size >/size"
    _, made = ask(box, "POST", "/containers/survivor/exec", {"Cmd": ["sh", "-c", wait], "Tty": True})
    assert ask(box, "POST", f"/exec/{made['Id']}/start", {"Detach": True, "Tty": True})[0] == 200
    box.restart()
    assert ask(box, "GET", f"/exec/{made['Id']}/json")[1]["ProcessConfig"]["tty"] is True
    assert ask(box, "POST", f"/exec/{made['Id']}/resize?h=33&w=77")[0] == 200
    box.ok("exec", "survivor", "touch", "/go")
    _until(lambda: box.ok("exec", "survivor", "sh", "-c", "cat /size 2>/dev/null || true") == "33 77")


def test_an_attached_client_keeps_its_stream_when_the_server_dies(box: Daemon) -> None:
    client = subprocess.Popen([str(KIST), "run", "-i", "--name", "survivor", "busybox", "cat"], env=box.env,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert client.stdin and client.stdout
    client.stdin.write(b"one\n")
    client.stdin.flush()
    assert client.stdout.readline() == b"one\n"
    box.kill()
    client.stdin.write(b"two\n")
    client.stdin.flush()
    assert select.select([client.stdout], [], [], 20)[0], "the stream ended with the server"
    assert client.stdout.readline() == b"two\n"
    client.stdin.close()
    client.wait(20)
    box.start()


def test_an_exit_while_no_server_ran_is_known(box: Daemon) -> None:
    box.ok("run", "-d", "-i", "--name", "survivor", "busybox", "sh", "-c", "read x < /go; exit 42")
    box.ok("run", "-d", "--name", "other", "busybox", "sh", "-c", "sleep 0.7; exit 42")
    box.kill()
    time.sleep(1.5)
    box.start()
    state = _state(box, "other")
    assert (state["Status"], state["ExitCode"]) == ("exited", 42)
    assert box.ok("wait", "other") == "42"
    assert box.kist("start", "-a", "other", timeout=30).returncode == 42


def test_rm_is_honoured_for_what_ended_while_no_server_ran(box: Daemon) -> None:
    box.ok("run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "0.5")
    box.ok("run", "-d", "--rm", "--name", "later", "busybox", "sleep", "1000")
    box.kill()
    time.sleep(1.2)
    box.start()
    _until(lambda: "gone" not in box.ok("ps", "-a"))
    assert "later" in box.ok("ps")
    box.ok("stop", "-t", "0", "later")
    _until(lambda: "later" not in box.ok("ps", "-a"))


def test_a_killed_monitor_ends_its_container_and_the_server_knows(box: Daemon) -> None:
    box.ok("run", "-d", "--name", "survivor", "busybox", "sleep", "1000")
    init = int(str(_state(box, "survivor")["Pid"]))
    stat = Path(f"/proc/{init}/stat").read_text()
    monitor = int(stat.rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    _until(lambda: _state(box, "survivor")["Status"] == "exited")
    assert _state(box, "survivor")["ExitCode"] == 137


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08])
def test_a_kill_at_any_moment_leaves_a_state_that_the_next_start_repairs(box: Daemon, delay: float) -> None:
    clients = [subprocess.Popen([str(KIST), "run", "--name", f"c{i}", "busybox", "true"], env=box.env,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(4)]
    time.sleep(0.03 + delay)
    box.kill()
    for client in clients:
        try:
            client.wait(30)
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait()
    box.end_autostarted()  # a client that found no server may have started one
    box.start()
    for line in box.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines():
        name, state = line.split()
        assert state in ("created", "exited", "running"), line
        assert name in {"c0", "c1", "c2", "c3"}
    ids = box.ok("ps", "-aq").split()
    if ids:
        box.ok("rm", "-f", *ids)
    assert box.ok("run", "--rm", "busybox", "echo", "well") == "well"


def test_a_clean_shutdown_leaves_containers_running(box: Daemon) -> None:
    box.ok("run", "-d", "--name", "survivor", "busybox", "sleep", "1000")
    box.process.terminate()
    assert box.process.wait(15) == 0
    box.start()
    assert _state(box, "survivor")["Status"] == "running"
