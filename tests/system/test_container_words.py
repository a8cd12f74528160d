"""What Docker's clients are told, and what is in a container, where Docker 26 was asked the same beside Kist."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support import needs
from support.daemon import Daemon


def inspect(daemon: Daemon, name: str) -> Any:
    return json.loads(daemon.ok("inspect", name))[0]


@pytest.mark.parametrize("command", [needs.DOCKER_28, "kist"])
@pytest.mark.parametrize(("words", "status", "said"), [
    ("run --rm --pid foo busybox true", 125, "--pid: invalid PID mode"),
    ("run --rm --uts foo busybox true", 125, "--uts: invalid UTS mode"),
    ("run --rm --userns foo busybox true", 125, "--userns: invalid USER mode"),
    ("run --rm --cgroupns foo busybox true", 125, "--cgroupns: invalid CGROUP mode"),
    ("run --rm --mac-address foo busybox true", 125, "foo is not a valid mac address"),
    ("run --rm --tmpfs foo busybox true", 125, "invalid mount path: 'foo' mount path must be absolute"),
    ("run --rm -e =x busybox true", 125,
     'invalid argument "=x" for "-e, --env" flag: invalid environment variable: =x'),
    ("run --rm -v data busybox ls -d /data", 0, ""),
    ("exec --detach-keys foo box true", 1, "Error response from daemon: Invalid escape keys (foo) provided"),
    ("attach --detach-keys foo box", 1, ""),
    ("kill nosuch", 1, "cannot kill container: nosuch: No such container: nosuch"),
    ("kill -s FOO box", 1, "cannot kill container: box: invalid signal: FOO"),
    ("stop -s FOO box", 1, "cannot stop container: box: invalid signal: FOO"),
    ("rename box other", 1, 'Error when allocating new name: Conflict. The container name "/other" is already in use'),
    ("rename box a/b", 1, "Error when allocating new name: Invalid container name (a/b)"),
    ("ps -a --filter health=foo", 1, "unrecognized filter value for health: foo"),
    ("ps -a --filter exited=x", 1, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
    ("container prune -f --filter until=foo", 1, 'failed to parse value as time or duration: "foo"'),
    ("cp /etc/hostname box:/nosuch/x", 1, "Could not find the file /nosuch in container box"),
    ("cp /etc/hostname box:/nosuch/", 1, "no such directory"),
    ("port box foo", 1, 'Error: invalid port (foo): strconv.ParseUint: parsing "foo": invalid syntax'),
    ("ps -aq --filter name=box --format {{.Names}}x", 0,
     "WARNING: Ignoring custom format, because both --format and --quiet are set."),
    ("events --since 0 --until 1 --filter foo=bar", 0, ""),
])
def test_the_words(daemon: Daemon, command: str, words: str, status: int, said: str) -> None:
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "100")
    daemon.ok("create", "--name", "other", "busybox")
    done = (daemon.docker if command == "docker" else daemon.kist)(*words.split())
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


@pytest.mark.parametrize("command", [needs.DOCKER_28, "kist"])
def test_a_program_that_kills_itself_at_once_has_its_status(daemon: Daemon, command: str) -> None:
    """It ran: a SIGKILL that comes soon after execve is not one that came before."""
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    run = daemon.docker if command == "docker" else daemon.kist
    for _ in range(15):
        done = run("exec", "box", "sh", "-c", "kill -9 $$")
        assert (done.returncode, done.stdout) == (137, "")
        done = run("run", "--rm", "--pid", "host", "busybox", "sh", "-c", "kill -9 $$")
        assert (done.returncode, done.stderr) == (137, "")


def test_scripts_find_that_they_are_in_a_container(daemon: Daemon) -> None:
    """/.dockerenv is there, also on a read-only root, and belongs to no layer: diff and commit don't know it."""
    daemon.ok("run", "--name", "box", "busybox", "test", "-f", "/.dockerenv")
    daemon.ok("run", "--rm", "--read-only", "busybox", "test", "-f", "/.dockerenv")
    assert daemon.ok("diff", "box") == ""
    daemon.ok("commit", "box", "copied")
    daemon.ok("create", "--name", "never-started", "copied")
    assert ".dockerenv" not in daemon.ok("export", "never-started")
    assert ".dockerenv" in daemon.ok("export", "box")
    daemon.ok("rm", "never-started")
    daemon.ok("rmi", "copied")


def test_what_inspect_leaves_out(daemon: Daemon) -> None:
    daemon.ok("create", "--name", "box", "--mount", "type=tmpfs,dst=/m", "--tmpfs", "/t", "busybox")
    found = inspect(daemon, "box")
    assert found["HostConfig"]["Mounts"] == [{"Type": "tmpfs", "Target": "/m"}]
    assert found["Mounts"] == [{"Type": "tmpfs", "Source": "", "Destination": "/m", "Mode": "", "RW": True,
                                "Propagation": ""}]
    daemon.ok("create", "--name", "mighty", "--privileged", "busybox")
    host = inspect(daemon, "mighty")["HostConfig"]
    assert host["MaskedPaths"] is None and host["ReadonlyPaths"] is None


def test_the_hosts_queues_are_seen_where_the_host_has_them_not_mounted(daemon: Daemon) -> None:
    assert daemon.ok("run", "--rm", "--ipc", "host", "busybox", "stat", "-f", "-c", "%T", "/dev/mqueue")


def test_ports_are_listed_as_docker_lists_them(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "box", "-p", "127.0.0.1:0:80", "--expose", "81", "--expose", "82/udp", "busybox",
              "sleep", "1000")
    form = ("ps", "--format", "{{.Ports}}")
    assert daemon.ok(*form) == daemon.docker(*form).stdout.strip()
    assert daemon.ok(*form).startswith("81/tcp, 82/udp, 127.0.0.1:")
