"""`--storage-opt size=…`: a bound for what a container writes, on any file system, by `kist` and by `docker`."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.daemon import KIST, Daemon
from support.processes import mentioning
from support.waiting import until

SIZE = ("--storage-opt", "size=32M")
ASLEEP = ("busybox", "sleep", "1000")
TOO_MUCH = "dd if=/dev/zero of=/big bs=1M count=64"


def loops(daemon: Daemon) -> list[str]:
    """Loop devices with a file of this server's."""
    listed = subprocess.run(["losetup", "-ln", "-O", "NAME,BACK-FILE"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(daemon.folder) in line]


def images(daemon: Daemon) -> list[Path]:
    return list((daemon.data / "snapshots").glob("*/quota.img")) + list((daemon.data / "staging").iterdir())


def clean(daemon: Daemon) -> bool:
    return until(lambda: not loops(daemon) and not images(daemon))


@pytest.mark.parametrize("client", ["kist", "docker"])
def test_writes_past_it_get_enospc(daemon: Daemon, client: str) -> None:
    run = getattr(daemon, client)
    done = run("run", "--name", "full", *SIZE, "busybox", "sh", "-c", f"df -k / | tail -1; {TOO_MUCH}")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert 32 << 10 <= int(done.stdout.split()[1]) <= 34 << 10
    assert json.loads(run("inspect", "full").stdout)[0]["HostConfig"]["StorageOpt"] == {"size": "32M"}
    free = run("run", "--rm", "busybox", "sh", "-c", f"{TOO_MUCH} 2> /dev/null && wc -c < /big")
    assert free.stdout.strip() == str(64 << 20)
    assert run("rm", "full").returncode == 0
    assert clean(daemon)


def test_what_looks_into_a_container_looks_into_this(daemon: Daemon, tmp_path: Path) -> None:
    """cp, diff, commit, export, ps -s and system df: while it runs, and when it is stopped."""
    (tmp_path / "in").write_text("from outside")
    daemon.ok("run", "-d", "--name", "box", *SIZE, "busybox", "sh", "-c",
              "rm /etc/group; head -c 3000000 /dev/zero > /data; exec sleep 1000")
    assert until(lambda: daemon.ok("exec", "box", "wc", "-c", "/data") == "3000000 /data")
    for state in ("running", "exited"):
        daemon.ok("cp", str(tmp_path / "in"), f"box:/in-{state}")
        daemon.ok("cp", f"box:/in-{state}", str(tmp_path / f"out-{state}"))
        assert (tmp_path / f"out-{state}").read_text() == "from outside"
        changes = daemon.ok("diff", "box").splitlines()
        assert {"A /data", "D /etc/group", f"A /in-{state}"} <= set(changes)
        daemon.ok("commit", "box", f"kept-{daemon.tag}:{state}")
        assert daemon.ok("run", "--rm", f"kept-{daemon.tag}:{state}", "cat", f"/in-{state}") == "from outside"
        daemon.ok("export", "-o", str(tmp_path / "all.tar"), "box")
        with tarfile.open(tmp_path / "all.tar") as archive:
            names = archive.getnames()
        assert f"in-{state}" in names
        assert "etc/group" not in names
        assert "3MB (virtual" in daemon.ok("ps", "-as", "--format", "{{.Size}}")
        assert json.loads(daemon.docker("system", "df", "-v", "--format", "{{json .}}").stdout)["Containers"][0][
            "Size"].startswith("3MB")
        assert len(loops(daemon)) <= 1
        daemon.ok("stop", "-t", "0", "box")
    daemon.ok("rmi", f"kept-{daemon.tag}:running", f"kept-{daemon.tag}:exited")
    daemon.ok("rm", "box")
    assert clean(daemon)


def test_what_was_written_stays_and_the_bound_too(daemon: Daemon) -> None:
    daemon.ok("run", "--name", "box", *SIZE, "busybox", "sh", "-c",
              f"cat /runs 2> /dev/null; echo x >> /runs; {TOO_MUCH} 2>&1 | grep -c 'No space'")
    assert until(lambda: not loops(daemon))
    assert daemon.ok("start", "-a", "box") == "x\n1"
    daemon.ok("restart", "box")
    daemon.ok("wait", "box")
    assert daemon.ok("logs", "-n", "3", "box") == "x\nx\n1"


def test_servers_and_containers_killed_at_any_time(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.ok("pull", "-q", "busybox")
    daemon.ok("run", "-d", "--name", "box", *SIZE, "busybox", "sh", "-c", "echo kept > /kept; exec sleep 1000")
    daemon.restart()
    assert daemon.ok("exec", "box", "cat", "/kept") == "kept"
    assert "A /kept" in daemon.ok("diff", "box")
    # everything at once: server, launcher, monitor; the container is ended by the next server
    daemon.kill()
    for pid, _ in mentioning(str(daemon.folder)):
        os.kill(pid, 9)
    daemon.start()
    assert until(lambda: not loops(daemon))
    assert daemon.ok("ps", "-a", "--format", "{{.State}}") == "exited"
    daemon.ok("start", "box")
    assert daemon.ok("exec", "box", "cat", "/kept") == "kept"
    daemon.ok("rm", "-f", "box")
    assert clean(daemon)


def test_a_create_that_fails_leaves_nothing(daemon: Daemon) -> None:
    done = daemon.kist("create", *SIZE, "-v", "/nowhere:/x:what", "busybox")
    assert done.returncode != 0
    done = daemon.kist("run", *SIZE, "busybox", "/no-such-program")
    assert done.returncode == 127
    daemon.clean()
    assert clean(daemon)


def test_a_server_killed_while_it_creates(make_daemon: Callable[..., Daemon]) -> None:
    """Whenever that is: a container is there and whole, or nothing of it is."""
    daemon = make_daemon()
    daemon.ok("pull", "-q", "busybox")
    for pause in (0.0, 0.005, 0.01, 0.02, 0.04):
        body = json.dumps({"Image": "busybox", "HostConfig": {"StorageOpt": {"size": "8G"}}})
        with subprocess.Popen(["curl", "-s", "--unix-socket", str(daemon.socket), "--json", body,
                               "http://d/containers/create"], stdout=subprocess.DEVNULL) as client:
            time.sleep(pause)
            daemon.kill()
            client.wait()
        daemon.start()
        there = daemon.ok("ps", "-aq", "--no-trunc").split()
        assert {path.parent.name for path in images(daemon)} == set(there)
    assert not loops(daemon)


@pytest.mark.parametrize(("option", "words"), [
    ("size=huge", "invalid size: 'huge'"), ("size=", "invalid size: ''"), ("size=1k", "at least 4MB"),
    ("colour=red", "Unknown option colour"), ("size=9999999999999t", "invalid size: '9999999999999t'")])
def test_what_makes_no_sense(daemon: Daemon, option: str, words: str) -> None:
    for client in (daemon.kist, daemon.docker):
        done = client("create", "--storage-opt", option, "busybox")
        assert done.returncode != 0
        assert words in done.stderr
    assert daemon.ok("ps", "-aq") == ""


def test_many_at_once(daemon: Daemon) -> None:
    script = ("for i in 1 2 3 4 5 6; do $KIST run --name q$i --storage-opt size=8M busybox sh -c "
              "'dd if=/dev/zero of=/x bs=1M count=20 2>&1 | grep -c space' & done; wait")
    done = daemon.command("sh", "-c", script, env={**daemon.env, "KIST": str(KIST)})
    assert done.stdout.split() == ["1"] * 6, done.stderr
    daemon.ok("rm", *(f"q{number}" for number in range(1, 7)))
    assert clean(daemon)
