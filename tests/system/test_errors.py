"""What goes wrong, and what Kist says: no server, not root, a full disk, requests that make no sense.

Each time: Docker's words, the exit status, no traceback, and nothing half-made.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemon import KIST, Daemon
from support.hub import Hub
from support.processes import ENVIRONMENT
from system.api_http import ask

FULL = "no space left on device"
NOBODY = 65534


def said(done: subprocess.CompletedProcess[str], status: int, words: str) -> None:
    assert words in done.stderr, done
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr


# No server


@pytest.mark.parametrize(("words", "status"), [
    (["run", "busybox", "true"], 125), (["create", "busybox"], 1), (["ps"], 1), (["rm", "x"], 1)])
def test_the_server_that_was_named_is_not_there(tmp_path: Path, words: list[str], status: int) -> None:
    env = {**ENVIRONMENT, "KIST_HOST": f"unix://{tmp_path}/none.sock"}
    done = subprocess.run([KIST, *words], capture_output=True, text=True, env=env, check=False, timeout=30)
    said(done, status, f"Cannot connect to the Kist server at unix://{tmp_path}/none.sock. Is it running?")


@pytest.mark.parametrize(("words", "status"), [
    (["run", "busybox", "true"], 125), (["create", "busybox"], 1), (["ps"], 1)])
def test_none_can_be_started(tmp_path: Path, words: list[str], status: int) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'run = "{tmp_path}/run"\ndata = "{tmp_path}/data"\nnonsense = 1\n')
    done = subprocess.run([KIST, *words], capture_output=True, text=True, check=False, timeout=60,
                          env={**ENVIRONMENT, "KIST_CONFIG": str(config)})
    said(done, status, "kist: the server did not start; its log")
    assert "nonsense" in done.stderr


# Not root


def as_nobody(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([KIST, *words], capture_output=True, text=True, env=env, check=False, timeout=30, cwd="/",
                          user=NOBODY, group=NOBODY, extra_groups=[])


@pytest.mark.parametrize(("words", "status"), [(["run", "busybox", "true"], 126), (["ps"], 1)])
def test_the_socket_is_not_for_everybody(daemon: Daemon, words: list[str], status: int) -> None:
    """126, as Docker's client has it: it goes by the words "permission denied"."""
    said(as_nobody(daemon.env, *words), status, "permission denied while trying to connect to the Kist server")


@pytest.mark.parametrize(("words", "status"), [(["run", "busybox", "true"], 125), (["ps"], 1)])
def test_only_root_starts_a_server(tmp_path: Path, words: list[str], status: int) -> None:
    run = Path("/run") / f"kt-nobody-{tmp_path.parent.name}-{tmp_path.name}"
    env = {**ENVIRONMENT, "KIST_RUN": str(run), "KIST_CONFIG": "/nonexistent"}
    said(as_nobody(env, *words), status, "only root can start one")
    assert not run.exists()


# A full disk


@pytest.fixture
def small(hub: Hub, tmp_path: Path) -> Iterator[Daemon]:
    """A server whose data is on a file system of 100 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", disk], check=True)
    try:
        (disk / "server").mkdir()
        running = Daemon(disk / "server", mirror=hub.url)
        try:
            yield running
        finally:
            empty(running)
            running.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(daemon: Daemon) -> None:
    with (daemon.folder.parent / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass


def empty(daemon: Daemon) -> None:
    (daemon.folder.parent / "filler").unlink(missing_ok=True)


def test_a_pull_onto_a_full_disk_leaves_nothing(small: Daemon) -> None:
    fill(small)
    said(small.kist("pull", "busybox"), 1, FULL)
    said(small.kist("run", "--rm", "busybox", "true"), 125, FULL)
    assert small.ok("images", "-q") == ""
    empty(small)
    assert small.ok("run", "--rm", "busybox", "echo", "ok") == "ok"


def test_a_full_disk_harms_no_container_and_no_server(small: Daemon) -> None:
    small.ok("pull", "-q", "busybox")
    cid = small.ok("run", "-d", "--name", "writer", "busybox", "sh", "-c",
                   "while :; do echo 0123456789012345678901234567890123456789; done")
    before = small.ok("network", "ls", "-q")
    for words, status in (
            (["create", "busybox", "true"], 1), (["run", "--rm", "busybox", "true"], 125),
            (["commit", "writer", "image:1"], 1), (["tag", "busybox", "other:1"], 1),
            (["cp", "/bin/busybox", "writer:/copy"], 1), (["volume", "create", "volume"], 1),
            (["network", "create", "network"], 1), (["rename", "writer", "reader"], 1)):
        fill(small)  # anew: the server clears up behind the pull, and each of these, in its own time
        said(small.kist(*words), status, FULL)
    assert small.ok("exec", "writer", "echo", "still here") == "still here"
    assert small.ok("logs", "--tail", "1", "writer") != ""
    assert small.ok("ps", "-aq", "--no-trunc") == cid, "something half-made"
    assert small.ok("network", "ls", "-q") == before
    assert small.ok("volume", "ls", "-q") == ""
    small.ok("kill", "writer")
    assert small.ok("wait", "writer") == "137"
    small.ok("rm", "writer")
    empty(small)
    assert small.ok("run", "--rm", "busybox", "echo", "ok") == "ok"
    small.ok("network", "create", "network")


# Requests that make no sense: 400 (404), whether create finds out or start


REQUESTS: list[tuple[dict[str, Any], str]] = [
    ({"Cmd": [""]}, 'exec: "": executable file not found in $PATH'),
    ({"User": "nope"}, "unable to find user nope: no matching entries in passwd file"),
    ({"User": "4294967296"}, "uids and gids must be in range 0-2147483647"),
    ({"User": "0:nope"}, "unable to find group nope: no matching entries in group file"),
    ({"WorkingDir": "/bin/busybox"}, "Cannot mkdir: /bin/busybox is not a directory"),
    ({"HostConfig": {"GroupAdd": ["nope"]}}, "Unable to find group nope"),
    ({"HostConfig": {"CgroupParent": "a\nb"}}, "invalid cgroup parent"),
    ({"HostConfig": {"Tmpfs": {"/x": "nope"}}}, 'invalid tmpfs option "nope"'),
    ({"HostConfig": {"Sysctls": {"net.nope": "1"}}}, "set sysctl net.nope=1"),
    ({"HostConfig": {"Memory": 20 << 20, "MemorySwap": -5}}, "Invalid value: -5"),
    ({"HostConfig": {"CpuShares": 1}}, "the minimum allowed cpu-shares is 2"),
    ({"HostConfig": {"BlkioDeviceReadBps": [{"Path": "/dev/nope", "Rate": 1}]}},
     "stat /dev/nope: no such file or directory"),
    ({"HostConfig": {"BlkioDeviceReadBps": [{"Path": "/etc/passwd", "Rate": 1}]}}, "/etc/passwd is not a device"),
    ({"HostConfig": {"Devices": [{"PathOnHost": "/dev/nope", "PathInContainer": "/dev/x"}]}},
     'error gathering device information while adding custom device "/dev/nope": no such file or directory'),
    ({"HostConfig": {"Dns": ["nope"]}}, "bad nameserver address nope"),
    ({"HostConfig": {"ExtraHosts": ["a:b"]}}, 'invalid IP address in add-host: "b"'),
    ({"HostConfig": {"VolumesFrom": ["nope"]}}, "No such container: nope"),
    ({"HostConfig": {"PidMode": "container:nope"}}, "No such container: nope"),
    ({"Healthcheck": {"Test": ["CMD", "true"], "Interval": 100}}, "Interval in Healthcheck cannot be less than 1ms"),
    ({"NetworkingConfig": {"EndpointsConfig": {"bridge": {"IPAMConfig": {"LinkLocalIPs": ["x"]}}}}},
     "invalid link-local IP address: x"),
]


@pytest.mark.parametrize(("body", "words"), REQUESTS, ids=[words[:50] for _, words in REQUESTS])
def test_requests_that_make_no_sense_are_the_clients_mistake(
        daemon: Daemon, body: dict[str, Any], words: str) -> None:
    status, answer = ask(daemon, "POST", "/v1.45/containers/create", {"Image": "busybox", "Cmd": ["true"], **body})
    if status == 201:
        status, answer = ask(daemon, "POST", f"/v1.45/containers/{answer['Id']}/start")
    assert words in answer["message"]
    assert status == 400


def test_a_container_on_the_default_network_is_on_the_bridge_before_its_start(daemon: Daemon) -> None:
    """docker create says "default"; what it means is known at once."""
    done = daemon.docker("create", "--name", "box", "busybox")
    assert done.returncode == 0, done.stderr
    names = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}"
    assert daemon.ok("inspect", "-f", names, "box") == "bridge"


def test_an_exec_that_can_not_be_made_has_126(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--name", "box", "busybox", "sleep", "100")
    for command in (daemon.docker, daemon.kist):
        assert command("exec", "-w", "/nope", "box", "true").returncode == 126


@pytest.mark.parametrize(("options", "words"), [
    (["--oom-kill-disable"], "OOM killer is disabled for the container, but no memory limit is set"),
    (["--network", "host", "-p", "1:1"], "Published ports are discarded when using host network mode")])
def test_warnings(daemon: Daemon, options: list[str], words: str) -> None:
    said(daemon.kist("create", *options, "busybox", "true"), 0, f"WARNING: {words}")


def test_what_an_image_shares_with_others_is_counted(daemon: Daemon) -> None:
    """So that `docker system df` knows what a prune would free."""
    def images() -> dict[str, Any]:
        rows = ask(daemon, "GET", "/v1.45/system/df?type=image")[1]["Images"]
        return {row["RepoTags"][0]: row for row in rows if row["RepoTags"]}

    image = images()["busybox:latest"]
    assert image["SharedSize"] == 0
    daemon.ok("create", "--name", "box", "busybox")
    daemon.ok("commit", "box", "child:1")
    try:
        found = images()
        assert found["busybox:latest"]["SharedSize"] == found["child:1"]["SharedSize"] == image["Size"]
    finally:
        daemon.ok("rm", "box")
        daemon.ok("rmi", "child:1")


# Events


def test_events_that_say_more(daemon: Daemon) -> None:
    """Docker's order and attributes for volumes that are used and images that are committed."""
    since = time.time()
    daemon.ok("run", "--name", "box", "-v", "vol:/x:ro", "busybox", "true")
    daemon.ok("commit", "box", "child:1")
    try:
        lines = ask(daemon, "GET", f"/v1.45/events?since={since:.9f}&until={time.time():.9f}")[1]
        found = {(one["Type"], one["Action"]): one["Actor"]["Attributes"] for one in lines}
        cid = daemon.ok("inspect", "-f", "{{.Id}}", "box")
        assert found["volume", "mount"] == {"container": cid, "destination": "/x", "driver": "local",
                                            "propagation": "", "read/write": "false"}
        assert found["volume", "unmount"] == {"container": cid, "driver": "local"}
        assert found["image", "tag"] == {"name": "child:1"}
        assert found["container", "commit"]["imageRef"] == "child:1"
        assert found["container", "commit"]["imageID"].startswith("sha256:")
    finally:
        daemon.ok("rm", "-v", "box")
        daemon.ok("volume", "rm", "vol")
        daemon.ok("rmi", "child:1")


def test_healthchecks_are_execs_in_the_events(daemon: Daemon) -> None:
    since = time.time()
    cid = daemon.ok("run", "-d", "--health-cmd", "true", "--health-interval", "100ms", "busybox", "sleep", "100")
    while daemon.ok("inspect", "-f", "{{.State.Health.Status}}", cid) != "healthy":
        time.sleep(0.1)
    lines = ask(daemon, "GET", f"/v1.45/events?since={since:.9f}&until={time.time():.9f}&type=container")[1]
    actions = [one["Action"] for one in lines]
    assert "exec_create: /bin/sh -c true" in actions
    assert "exec_start: /bin/sh -c true" in actions


def test_words_of_top_and_update(daemon: Daemon) -> None:
    daemon.ok("run", "-d", "--rm", "--name", "box", "busybox", "sleep", "100")
    said(daemon.kist("top", "box", "nope"), 1, "ps: error: unknown user-defined format specifier")
    said(daemon.kist("update", "--restart", "always", "box"), 1,
         "Restart policy cannot be updated because AutoRemove is enabled for the container")


# The client's own


def test_rm_with_f_of_what_is_not_there_is_no_failure(daemon: Daemon) -> None:
    said(daemon.kist("rm", "-f", "nothere"), 0, "No such container: nothere")
    said(daemon.kist("rm", "nothere"), 1, "No such container: nothere")


def test_cp_into_what_is_no_directory(daemon: Daemon, tmp_path: Path) -> None:
    daemon.ok("create", "--name", "box", "busybox")
    (tmp_path / "file").write_text("x")
    said(daemon.kist("cp", str(tmp_path / "file"), "box:/bin/busybox/"), 1, "no such directory")


def test_a_cidfile_that_can_not_be_written(daemon: Daemon, tmp_path: Path) -> None:
    said(daemon.kist("run", "--cidfile", f"{tmp_path}/no/file", "busybox", "true"), 127,
         f"failed to create the container ID file: open {tmp_path}/no/file: no such file or directory")
