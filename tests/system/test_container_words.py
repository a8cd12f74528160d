"""What Docker's clients are told, and what is in a container, where Docker 26 was asked the same beside Kist."""

from __future__ import annotations

import json
import time
from pathlib import Path
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
    ("rename box a/b", 1, "Error when allocating new name: Invalid container name (/a/b)"),
    ("ps -a --filter health=foo", 1, "unrecognized filter value for health: foo"),
    ("ps -a --filter exited=x", 1, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
    ("container prune -f --filter until=foo", 1, 'failed to parse value as time or duration: "foo"'),
    ("cp /etc/hostname box:/nosuch/x", 1, "Could not find the file /nosuch in container box"),
    ("cp /etc/hostname box:/nosuch/", 1, "no such directory"),
    ("ps -a --filter is-task=x", 1, "invalid filter 'is-task=[x]'"),
    ("ps -a --filter isolation=foo", 0, ""),
    ("ps -a --filter ancestor=UPPER", 0, ""),
    ("ps -a --filter expose=x", 1, 'error while looking up for expose x: strconv.ParseUint: parsing "x": invalid'),
    ("ps -a --filter publish=3-1", 1, "looking up for publish 3-1: Invalid range specified for the Port: 3-1"),
    ("events --since 10 --until 5", 1, "`since` time (10) cannot be after `until` time (5)"),
    ("commit -c EXPOSE_foo box", 1, "Invalid containerPort: foo"),
    ("commit -c EXPOSE_80/foo box", 1, "Invalid proto: foo"),
    ("commit -c EXPOSE box", 1, "EXPOSE requires at least one argument"),
    ("stop -s FOO other", 0, ""),
    ("update --kernel-memory 50m box", 0, ""),
    ("port box 70000", 1, 'Error: invalid port (70000): strconv.ParseUint: parsing "70000": value out of range'),
    ("rename nosuch x", 1, "Error response from daemon: No such container: nosuch\nError: failed to rename"),
    ("kill -s 999 box", 1, "cannot kill container: box: the linux daemon does not support signal 999"),
    ("run --rm -w /etc/passwd busybox true", 125, "Cannot mkdir: /etc/passwd is not a directory"),
    ("run --rm --gpus all busybox true", 125, 'could not select device driver "" with capabilities: [[gpu]]'),
    ("run --rm --device vendor.com/class=x busybox true", 125,
     'could not select device driver "cdi" with capabilities: []'),
    ("run --rm --group-add nosuch busybox true", 125,
     "Unable to find group nosuch: no matching entries in group file"),
    ("run --rm -u 1000:1000:1 busybox true", 0, ""),
    ("run --rm --ip 192.0.2.5 busybox true", 125, "invalid config for network bridge: invalid endpoint settings:\n"
     "* user specified IP address is supported on user defined networks only\n"
     "* no configured subnet or ip-range contain the IP address 192.0.2.5\n"),
    ("run --rm --network none --ip 192.0.2.5 busybox true", 125,
     "* user specified IP address is supported only when connecting to networks with user configured subnets\n"),
    ("network connect --ip nope bridge other", 1, "Error response from daemon: invalid endpoint settings:\n"
     "* user specified IP address is supported on user defined networks only\n* invalid IPv4 address: nope\n"),
    ("run --rm --stop-signal 999 busybox true", 0, ""),
    ("run --rm --stop-signal FOO busybox true", 125, "invalid signal: FOO"),
    ("run --rm --kernel-memory 50m busybox true", 0, ""),
    ("run --rm --volume-driver nosuch busybox true", 0, ""),
    ("run --rm --security-opt label=user:x busybox true", 0, ""),
    ("run --rm --storage-opt foo=1 busybox true", 125, "Unknown option foo"),
    ("run --rm --isolation foo busybox true", 125, "Invalid isolation: \"foo\" - linux only supports 'default'"),
    ("run --rm --cpu-count 1 busybox true", 1, '"--cpu-count" is only supported on a Docker daemon running on windows'),
    ("run --rm --uts host --hostname x busybox true", 125, "conflicting options: hostname and the UTS mode"),
    ("run --rm --network container:box -p 80 busybox true", 125,
     "conflicting options: port publishing and the container type network mode"),
    ("create --network container:box --ip 192.0.2.5 busybox true", 1,
     "Error response from daemon: invalid config for network container:box: invalid endpoint settings:\n"
     "user specified IP address is supported on user defined networks only\n"),
    ("create --network container:box --network-alias a busybox true", 125,
     "network-scoped aliases are only supported for user-defined networks"),
    ("run --rm --network container: busybox true", 125,
     "Invalid network mode: invalid container format container:<name|id>"),
    ("run --rm --ipc container: busybox true", 125, 'failed to join IPC namespace: invalid name or ID supplied: ""'),
    ("run --rm -v a/b:/x busybox true", 125, 'create a/b: "a/b" includes invalid characters for a local volume name'),
    ("exec box nosuch", 127, ""),
    ("run --rm --tmpfs /etc/hosts busybox true", 125, "Are you trying to mount a directory onto a file"),
    ("run --rm -v /nosuch/SOURCE:/etc/hosts busybox true", 125, "Are you trying to mount a directory onto a file"),
    ("run --rm -v /tmp:/etc/resolv.conf busybox true", 125, "Are you trying to mount a directory onto a file"),
    ("run --rm -v /etc/passwd:/etc/hosts busybox true", 0, ""),
    ("run --rm --tmpfs /etc -v /tmp:/etc/hosts busybox ls -d /etc/hosts/.", 0, ""),
    ("run --rm --tmpfs /t:nosuch busybox true", 125, 'invalid tmpfs option "nosuch"'),
    ("run --rm --mount type=bind,src=/tmp,dst=/x,bind-nonrecursive=1 busybox true", 0,
     "bind-nonrecursive is deprecated, use bind-recursive=disabled instead"),
    ("port box foo", 1, 'Error: invalid port (foo): strconv.ParseUint: parsing "foo": invalid syntax'),
    ("ps -aq --filter name=box --format {{.Names}}x", 0,
     "WARNING: Ignoring custom format, because both --format and --quiet are set."),
    ("events --since 0 --until 1 --filter foo=bar", 0, ""),
    ("events --since 0 --until 1 --format {{.Nope}}", 64, 'Error parsing format: template: :1:2: executing "" at '
     "<.Nope>: can't evaluate field Nope in type *events.Message"),
    ("run --rm --network bridge --network bridge busybox true", 125, 'network "bridge" is specified multiple times'),
    ("run --rm --network name=bridge,alias=x busybox true", 125,
     "network-scoped aliases are only supported for user-defined networks"),
    ("run --rm --uts host --domainname x busybox true", 125, "conflicting options: domainname and the UTS mode"),
    ("commit box made:1 -c X", 1, "requires at least 1 and at most 2 arguments"),
])
def test_the_words(daemon: Daemon, command: str, words: str, status: int, said: str) -> None:
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "100")
    daemon.ok("create", "--name", "other", "busybox")
    done = (daemon.docker if command == "docker" else daemon.kist)(*(
        word.replace("EXPOSE_", "EXPOSE ").replace("/nosuch/SOURCE", str(daemon.folder / "made"))
        for word in words.split()))
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


@pytest.mark.parametrize("command", [needs.DOCKER_28, "kist"])
@pytest.mark.parametrize(("folder", "said"), [
    ("/missing", 'unable to start container process: chdir to cwd ("/missing") set in config.json failed: no such file '
                 "or directory: unknown"),
    ("/etc/passwd", 'unable to start container process: chdir to cwd ("/etc/passwd") set in config.json failed: '
                    "not a directory: unknown"),
    ("missing", "Cwd must be an absolute path: unknown"),
])
def test_an_exec_whose_directory_is_not_there(daemon: Daemon, command: str, folder: str, said: str) -> None:
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "100")
    done = (daemon.docker if command == "docker" else daemon.kist)("exec", "-w", folder, "box", "true")
    assert (done.returncode, done.stdout) == (126, f"OCI runtime exec failed: exec failed: {said}\n"), done


def test_the_action_of_an_exec_is_its_words(daemon: Daemon) -> None:
    """A program without arguments has a blank behind it, as Docker's (moby: daemon/exec.go)."""
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "100")
    since = str(time.time())
    daemon.ok("exec", "box", "true")
    daemon.ok("exec", "box", "echo", "a", "b")
    said = daemon.kist("events", "--since", since, "--until", str(time.time()), "--filter", "event=exec_create",
                       "--format", "{{.Action}}|").stdout
    assert said == "exec_create: true |\nexec_create: echo a b|\n"


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


@pytest.mark.parametrize(("options", "shown"), [
    ("private", ""), ("rshared", "shared:"), ("slave", ""), ("private,shared", "shared:"), ("unbindable", "unbindable"),
    ("rprivate,size=1m", "")])
def test_a_tmpfs_may_be_shared_or_not(daemon: Daemon, options: str, shown: str) -> None:
    """As in Docker 26: the words of propagation are words of `--tmpfs`, the last one counts."""
    line = daemon.ok("run", "--rm", "--tmpfs", f"/t:{options}", "busybox", "grep", " /t ", "/proc/self/mountinfo")
    fields, system = line.split(" - ")
    assert fields.split()[6:] == [f"{shown}{fields.rpartition(':')[2]}"] if shown.endswith(":") else fields.split()[
        6:] == [shown] * bool(shown)
    assert ("size=1024k" in system) is ("size" in options)


@pytest.mark.parametrize(("words", "names", "full"), [
    (["-h", "a.b.c"], "a.b.c a", "a.b.c"),
    (["-h", "a", "--domainname", "d.e"], "a.d.e a", "a.d.e"),
    (["-h", "a.b.c", "--domainname", "d.e"], "a.b.c.d.e a.b.c a", "a.b.c.d.e"),
    (["-h", "a"], "a", "a"),
])
def test_a_container_knows_its_names(daemon: Daemon, words: list[str], names: str, full: str) -> None:
    last, asked = daemon.ok("run", "--rm", *words, "busybox", "sh", "-c",
                            "tail -n 1 /etc/hosts; hostname -f").splitlines()
    assert (last.partition("\t")[2], asked) == (names, full)


def test_in_the_hosts_network_are_the_hosts_names(daemon: Daemon) -> None:
    run = ["run", "--rm", "--network", "host"]
    assert daemon.ok(*run, "busybox", "cat", "/etc/hosts") == Path("/etc/hosts").read_text().strip()
    assert "ip6-allnodes" in daemon.ok(*run, "--add-host", "x:192.0.2.1", "busybox", "grep", "-v", "x$", "/etc/hosts")


@pytest.mark.parametrize("name", ["a.b", "x-y", "1A"])
@pytest.mark.parametrize("way", ["run", "exec", "file"])
def test_variables_that_no_shell_can_name(daemon: Daemon, tmp_path: Path, name: str, way: str) -> None:
    """`kist` is a shell script, and dash hands on no such variable."""
    (tmp_path / "file").write_text(f"{name}\nnot.there\n")
    words = {"run": ["run", "--rm", "-e", name, "-e", "not.there", "busybox", "env"],
             "exec": ["exec", f"--env={name}", "-e", "not.there", "box", "env"],
             "file": ["run", "--rm", "--env-file", str(tmp_path / "file"), "busybox", "env"]}[way]
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "100")
    found = daemon.ok(*words, env={**daemon.env, name: "1 2"}).splitlines()
    assert f"{name}=1 2" in found and not [line for line in found if line.startswith("not.there")]


def test_any_host_name_and_any_stop_signal_does(daemon: Daemon) -> None:
    assert daemon.ok("run", "--rm", "--hostname", "a b", "busybox", "hostname") == "a b"
    daemon.ok("run", "-d", "--name", "box", "--stop-signal", "999", "busybox", "sleep", "1000")
    daemon.ok("stop", "-t", "60", "box")  # nothing can be sent, so it is killed soon
    assert inspect(daemon, "box")["State"]["ExitCode"] == 137


def test_a_container_may_use_the_server(daemon: Daemon) -> None:
    (daemon.folder / ".config" / "kist").mkdir(parents=True, exist_ok=True)
    auths = daemon.folder / ".config" / "kist" / "auth.json"
    auths.write_text(json.dumps({"auths": {"registry.test": {"auth": "dTpw"}}}))
    try:
        daemon.ok("create", "--name", "box", "--use-api-socket", "busybox", "sh", "-c",
                  "stat -c %F /var/run/docker.sock; cd $DOCKER_CONFIG; stat -c %a config.json; cat config.json")
    finally:
        auths.unlink()
    kind, mode, text = daemon.ok("start", "-a", "box").split("\n", 2)
    assert (kind, mode, json.loads(text)) == ("socket", "600", {"auths": {"registry.test": {"auth": "dTpw"}}})


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
    assert host["SecurityOpt"] == ["label=disable"]  # SELinux's
    daemon.ok("create", "--name", "seer", "--pid", "host", "--security-opt", "no-new-privileges", "busybox")
    assert inspect(daemon, "seer")["HostConfig"]["SecurityOpt"] == ["no-new-privileges", "label=disable"]
    listed = daemon.command("curl", "-s", "--unix-socket", str(daemon.socket), "http://d/images/json")
    assert {image["Containers"] for image in json.loads(listed.stdout)} == {-1}, "counted by df alone"


def test_what_a_running_container_sees_as_its_root_can_be_looked_at(daemon: Daemon) -> None:
    """Docker's MergedDir; of one that doesn't run there is none."""
    daemon.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", "echo here >/etc/new; sleep 1000")
    data = inspect(daemon, "box")["GraphDriver"]["Data"]
    merged = Path(data["MergedDir"])
    while not (merged / "etc/new").exists():
        time.sleep(0.01)
    assert (merged / "bin/busybox").exists() and (merged / "etc/new").read_text() == "here\n"
    assert (Path(data["UpperDir"]) / "etc/new").exists()
    daemon.ok("stop", "-t", "0", "box")
    assert "MergedDir" not in inspect(daemon, "box")["GraphDriver"]["Data"]


def test_the_hosts_queues_are_seen_where_the_host_has_them_not_mounted(daemon: Daemon) -> None:
    assert daemon.ok("run", "--rm", "--ipc", "host", "busybox", "stat", "-f", "-c", "%T", "/dev/mqueue")


def test_ports_are_listed_as_docker_lists_them(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "box", "-p", "127.0.0.1:0:80", "--expose", "81", "--expose", "82/udp", "busybox",
              "sleep", "1000")
    form = ("ps", "--format", "{{.Ports}}")
    assert daemon.ok(*form) == daemon.docker(*form).stdout.strip()
    assert daemon.ok(*form).startswith("81/tcp, 82/udp, 127.0.0.1:")
