"""The path of a container, by Kist's own client and by Docker's: the same words, output and exit statuses."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

import pytest

from support import needs
from support.daemon import Daemon

Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["kist", "docker"])
def client(request: pytest.FixtureRequest, daemon: Daemon) -> Client:
    command: Client = getattr(daemon, request.param)
    return command


def _ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_run_prints_what_the_program_prints(client: Client) -> None:
    done = client("run", "--rm", "busybox", "echo", "hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "")


def test_the_image_is_pulled_when_it_is_not_there(client: Client, daemon: Daemon) -> None:
    daemon.kist("rmi", "-f", "hello-world")
    done = client("run", "--rm", "hello-world")
    assert "Hello from Kist!" in _ok(done)
    assert "Unable to find image 'hello-world:latest' locally" in done.stderr
    assert "Status: Downloaded newer image for hello-world:latest" in done.stderr
    daemon.ok("rmi", "hello-world")


@pytest.mark.parametrize("status", [0, 3, 255])
def test_the_exit_status_is_the_programs(client: Client, status: int) -> None:
    assert client("run", "--rm", "busybox", "sh", "-c", f"exit {status}").returncode == status


def test_a_signal_from_outside_gives_128_and_its_number(client: Client, daemon: Daemon) -> None:
    _ok(client("run", "-d", "--name", "victim", "busybox", "sleep", "1000"))
    _ok(client("kill", "victim"))
    assert _ok(client("wait", "victim")).strip() == "137"


@pytest.mark.parametrize(("args", "status", "words"), [
    (["busybox", "nothere"], 127, "executable file not found in $PATH"),
    (["busybox", "/nothere"], 127, "no such file or directory"),
    (["busybox", "/etc/passwd"], 126, "permission denied"),
    (["--network", "nosuch", "busybox", "true"], 125, "network nosuch not found"),
    (["-m", "1m", "busybox", "true"], 125, "Minimum memory limit allowed is 6MB"),
    (["--cpus", "1000", "busybox", "true"], 125, "Range of CPUs is from 0.01 to"),
    (["--user", "nobodyknows", "busybox", "true"], 125, "unable to find user nobodyknows"),
    (["--name", "../x", "busybox", "true"], 125, "Invalid container name (../x)"),
    (["--no-such-flag", "busybox", "true"], 125, "unknown flag: --no-such-flag"),
])
def test_errors_have_dockers_words_and_statuses(
        client: Client, daemon: Daemon, args: list[str], status: int, words: str) -> None:
    done = client("run", "--rm", *args)
    assert words in done.stderr
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert _ok(daemon.kist("ps", "-aq")) == "", "something half-made was left"


@needs.docker_28
@pytest.mark.parametrize(("args", "status", "words"), [
    (["busybox", "/etc"], 126, "is a directory"),
    (["Busybox", "true"], 125, "repository name (library/Busybox) must be lowercase"),
])
def test_errors_have_the_words_of_docker_28(
        client: Client, daemon: Daemon, args: list[str], status: int, words: str) -> None:
    test_errors_have_dockers_words_and_statuses(client, daemon, args, status, words)


def test_options_end_at_the_image(client: Client) -> None:
    assert _ok(client("run", "--rm", "busybox", "echo", "-n", "--rm", "-it")) == "--rm -it"


def test_create_prints_the_id_and_start_runs_the_same_command_each_time(client: Client, daemon: Daemon) -> None:
    cid = _ok(client("create", "busybox", "sh", "-c", "echo run $(cat /n 2>/dev/null | wc -l); echo x >> /n")).strip()
    assert re.fullmatch("[0-9a-f]{64}", cid)
    assert _ok(client("start", "-a", cid)) == "run 0\n"
    assert _ok(client("start", "-a", cid[:12])) == "run 1\n"
    assert _ok(client("logs", cid)) == "run 0\nrun 1\n"


def test_logs_starts_nothing(client: Client) -> None:
    cid = _ok(client("create", "busybox", "echo", "hi")).strip()
    assert _ok(client("logs", cid)) == ""
    assert json.loads(_ok(client("inspect", cid)))[0]["State"]["Status"] == "created"


def test_ps_shows_running_ones_and_all_every_one(client: Client, daemon: Daemon) -> None:
    running = _ok(client("run", "-d", "busybox", "sleep", "1000")).strip()
    ended = _ok(client("create", "busybox", "true")).strip()
    assert set(_ok(client("ps", "-q", "--no-trunc")).split()) == {running}
    assert set(_ok(client("ps", "--all", "-q", "--no-trunc")).split()) == {running, ended}


def test_stop_sends_term_and_waits(client: Client) -> None:
    script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    cid = _ok(client("run", "-d", "busybox", "sh", "-c", script)).strip()
    while "ready" not in _ok(client("logs", cid)):
        pass
    _ok(client("stop", cid))
    assert _ok(client("logs", cid)) == "ready\nbye\n"
    assert json.loads(_ok(client("inspect", cid)))[0]["State"]["ExitCode"] == 7


def test_stop_kills_what_does_not_heed_term(client: Client) -> None:
    cid = _ok(client("run", "-d", "busybox", "sleep", "1000")).strip()
    _ok(client("stop", "-t", "0", cid))
    assert json.loads(_ok(client("inspect", cid)))[0]["State"]["ExitCode"] == 137


def test_ids_by_unique_prefix_and_names(client: Client, daemon: Daemon) -> None:
    cid = _ok(client("create", "--name", "one", "busybox", "true")).strip()
    assert json.loads(_ok(client("inspect", cid[:8])))[0]["Name"] == "/one"
    done = client("create", "--name", "one", "busybox", "true")
    assert done.returncode == 1 or done.returncode == 125
    assert f'The container name "/one" is already in use by container "{cid}"' in done.stderr
    done = client("start", "doesnotexist")
    assert done.returncode == 1
    assert "No such container: doesnotexist" in done.stderr


def test_two_containers_share_nothing(client: Client) -> None:
    """Files, /tmp, /dev/shm, processes, IPC, host name, network: each sees its own."""
    first = _ok(client("run", "-d", "busybox", "sh", "-c",
                       "echo secret > /f; echo s > /tmp/f; echo s > /dev/shm/f; exec sleep 1000")).strip()
    script = ("cat /f /tmp/f /dev/shm/f 2>/dev/null; ps -o pid= | wc -l; hostname; "
              "for n in pid mnt uts ipc net cgroup; do readlink /proc/self/ns/$n; done")
    one = _ok(client("exec", first, "sh", "-c", script)).splitlines()
    two = _ok(client("run", "--rm", "busybox", "sh", "-c", script)).splitlines()
    assert one[:3] == ["secret", "s", "s"]
    assert two[0].isdigit(), "the second container sees files of the first"
    assert set(one[3:]) & set(two) <= {one[3]}, "a namespace is shared"


def test_isolation_seen_from_inside(client: Client) -> None:
    script = ("echo pid $$; id -u; grep -c . /proc/net/dev; mount | grep -c ' / type overlay'; "
              "grep CapEff /proc/self/status; grep '^Seccomp:' /proc/self/status; "
              "cat /proc/kcore 2>&1 | wc -c; echo x > /proc/sys/kernel/hostname; echo rc $?")
    out = _ok(client("run", "--rm", "busybox", "sh", "-c", script + " 2>/dev/null"))
    assert "pid 1\n0\n" in out
    assert "CapEff:\t00000000a80425fb" in out, "not Docker's default capabilities"
    assert "Seccomp:\t2" in out
    assert out.endswith("rc 1\n")


@pytest.mark.parametrize(("option", "value", "files", "expected"), [
    ("-m", "64m", ("memory/memory.limit_in_bytes", "memory.max"), {"67108864"}),
    ("--pids-limit", "20", ("pids/pids.max", "pids.max"), {"20"}),
    ("--cpus", "0.5", ("cpu/cpu.cfs_quota_us", "cpu.max"), {"50000", "50000 100000"}),
])
def test_limits_reach_the_kernel(
        client: Client, option: str, value: str, files: tuple[str, str], expected: set[str]) -> None:
    script = "; ".join(f"cat /sys/fs/cgroup/{f} 2>/dev/null" for f in files) + "; true"
    assert _ok(client("run", "--rm", option, value, "busybox", "sh", "-c", script)).strip() in expected


def test_an_oom_kill_is_reported(client: Client) -> None:
    done = client("run", "--name", "eater", "-m", "16m", "--memory-swap", "16m", "busybox",
                  "sh", "-c", "tail /dev/zero; exit $?")
    state = json.loads(_ok(client("inspect", "eater")))[0]["State"]
    assert done.returncode == 137
    assert state["OOMKilled"] is True


def test_the_pids_limit_holds(client: Client) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done 2>&1; wait"
    done = client("run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", script)
    assert "can't fork" in done.stdout + done.stderr


def test_the_default_network_gives_an_address_and_a_way_out(client: Client, daemon: Daemon) -> None:
    script = "ip -4 -o addr show eth0 | wc -l; ip route | grep -c '^default via'; " \
             "ping -c1 -W2 $(ip route | awk '/default/{print $3}') >/dev/null && echo gateway"
    assert _ok(client("run", "--rm", "busybox", "sh", "-c", script)).split() == ["1", "1", "gateway"]


def test_network_none_has_loopback_only(client: Client) -> None:
    out = _ok(client("run", "--rm", "--network", "none", "busybox", "sh", "-c",
                     "ls /sys/class/net; ping -c1 -W2 127.0.0.1 >/dev/null && echo up"))
    assert out.split() == ["lo", "up"]


def test_network_host_is_the_hosts(client: Client) -> None:
    inside = _ok(client("run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"))
    import os

    assert inside.strip() == os.readlink("/proc/self/ns/net")


def test_own_hosts_hostname_and_resolv_conf(client: Client) -> None:
    out = _ok(client("run", "--rm", "--hostname", "box", "--dns", "192.0.2.7", "busybox", "sh", "-c",
                     "hostname; cat /etc/hostname; grep -w box /etc/hosts | wc -l; grep nameserver /etc/resolv.conf"))
    assert out.split("\n")[:3] == ["box", "box", "1"]
    assert "192.0.2.7" in out


def test_stdin_reaches_the_program(client: Client) -> None:
    done = client("run", "--rm", "-i", "busybox", "cat", input="hi\n")
    assert (done.returncode, done.stdout) == (0, "hi\n")


def test_without_i_there_is_no_stdin(client: Client) -> None:
    assert _ok(client("run", "--rm", "busybox", "cat")) == ""


def test_stdout_and_stderr_stay_apart(client: Client) -> None:
    done = client("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_exec_runs_another_command_inside(client: Client) -> None:
    _ok(client("run", "-d", "--name", "box", "-e", "A=1", "busybox", "sleep", "1000"))
    assert _ok(client("exec", "-e", "B=2", "-w", "/tmp", "box", "sh", "-c", "echo $A $B $(pwd)")) == "1 2 /tmp\n"
    assert client("exec", "box", "sh", "-c", "exit 9").returncode == 9
    assert client("exec", "-i", "box", "cat", input="abc").stdout == "abc"
    missing = client("exec", "box", "nothere")
    assert missing.returncode == 127, missing.stderr
    assert "executable file not found in $PATH" in missing.stdout + missing.stderr


def test_exec_in_a_stopped_container_is_refused(client: Client) -> None:
    cid = _ok(client("create", "busybox", "true")).strip()
    done = client("exec", cid, "true")
    assert done.returncode == 1
    assert "is not running" in done.stderr


def test_rm_of_a_running_container_needs_force(client: Client) -> None:
    cid = _ok(client("run", "-d", "busybox", "sleep", "1000")).strip()
    done = client("rm", cid)
    assert done.returncode == 1
    assert "container is running: stop the container before removing or force remove" in done.stderr
    _ok(client("rm", "-f", cid))
    assert client("inspect", cid).returncode == 1


def test_an_image_in_use_is_not_removed(client: Client) -> None:
    cid = _ok(client("create", "busybox", "true")).strip()
    done = client("rmi", "busybox")
    assert done.returncode == 1
    assert "conflict: unable to" in done.stderr
    assert cid[:12] in done.stderr


def test_images_version_and_info(client: Client) -> None:
    assert "busybox" in _ok(client("images"))
    assert "1.51" in _ok(client("version"))
    assert "overlay" in _ok(client("info"))


def test_an_unknown_image_says_so(client: Client, daemon: Daemon) -> None:
    done = client("run", "--rm", "127.0.0.1:1/nothing/here", "true")
    assert done.returncode == 125
    assert "connection refused" in done.stderr.lower()
    assert _ok(daemon.kist("ps", "-aq")) == ""


def test_an_image_from_a_mirror_shows_it(client: Client, daemon: Daemon) -> None:
    assert "127.0.0.1" in _ok(daemon.kist("inspect", "busybox"))
