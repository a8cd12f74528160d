"""SIGKILL of the server at any moment of a volume's life: the next start finds the old or the new, and no halves."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.daemon import CLIENT, Daemon

ROUNDS = 2  # of each; the moment is another one every time
FILES = 400
FILL = f"mkdir -p {{0}}; for i in $(seq {FILES}); do echo {{1}} > {{0}}/$i; done"


@pytest.fixture
def server(make_daemon: Callable[..., Daemon]) -> Iterator[Daemon]:
    """With an image that has FILES files in /data."""
    server = make_daemon()
    server.ok("pull", "-q", "busybox")
    server.ok("run", "--name", "maker", "busybox", "sh", "-c", FILL.format("/data", "image"))
    server.ok("commit", "maker", "filled:1")
    server.ok("rm", "maker")
    yield server
    server.clean()
    server.clean_volumes()


def fill(server: Daemon, name: str, word: str, *options: str) -> None:
    server.ok("volume", "create", *options, name)
    server.ok("run", "--rm", "-v", f"{name}:/v", "busybox", "sh", "-c", FILL.format("/v/d", word))


def words(server: Daemon, name: str, folder: str = "d") -> tuple[set[str], int]:
    """What the files of a volume say, and how many there are."""
    found = server.ok("run", "--rm", "-v", f"{name}:/v:nocopy", "busybox", "sh", "-c",
                      f"cat /v/{folder}/* 2>/dev/null; ls /v/{folder} 2>/dev/null | wc -l").split()
    return set(found[:-1]), int(found[-1])


def killed_in(server: Daemon, *args: str, data: Path | None = None, prepare: Callable[[], object],
              check: Callable[[], object]) -> None:
    """Once to the end, to know how long it takes; then cut off at moments of that time."""
    prepare()
    took = _run(server, args, data, None)
    check()
    for _ in range(ROUNDS):
        prepare()
        moment = random.uniform(0, took * 1.1)
        _run(server, args, data, moment)
        server.start()
        print(f"killed {moment:.4f} s of {took:.4f} s after the command's start")  # pytest shows it with a failure
        assert os.listdir(server.data / "volumes.new") == []
        listed = sorted(server.ok("volume", "ls", "-q").split())
        assert sorted(os.listdir(server.data / "volumes")) == listed
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        assert not [line for line in mounts if f"{server.data}/volumes" in line]
        check()


def _run(server: Daemon, args: tuple[str, ...], data: Path | None, moment: float | None) -> float:
    began = time.monotonic()
    with open(data or "/dev/null", "rb") as file:
        client = subprocess.Popen([*CLIENT, *args], stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env=server.env)
    try:
        if moment is not None:
            time.sleep(moment)
            server.kill()
        said = client.communicate(timeout=60)[1]
    finally:
        client.kill()
        client.wait()
    if moment is None:
        assert client.returncode == 0, said
    return time.monotonic() - began


BOUNDS = pytest.mark.parametrize("options", [(), ("-o", "size=32m")], ids=["plain", "bounded"])


@BOUNDS
def test_rm(server: Daemon, options: tuple[str, ...]) -> None:
    def prepare() -> None:
        if "vol" not in server.ok("volume", "ls", "-q").split():
            fill(server, "vol", "old", *options)

    def check() -> None:
        if server.ok("volume", "ls", "-q"):
            assert words(server, "vol") == ({"old"}, FILES)

    killed_in(server, "volume", "rm", "vol", prepare=prepare, check=check)


@BOUNDS
def test_restore(server: Daemon, options: tuple[str, ...]) -> None:
    fill(server, "old", "old", *options)
    fill(server, "new", "new", *options)
    server.ok("volume", "create", *options, "vol")

    def check() -> None:
        assert words(server, "vol") in (({"old"}, FILES), ({"new"}, FILES))
        assert words(server, "new") == ({"new"}, FILES)

    killed_in(server, "volume", "restore", "vol", "new", check=check,
              prepare=lambda: server.ok("volume", "restore", "vol", "old"))


def test_snapshot_of_a_volume_in_use(server: Daemon) -> None:
    fill(server, "vol", "old")
    box = server.ok("run", "-d", "-v", "vol:/v", "busybox", "sleep", "1000")

    def check() -> None:
        assert server.ok("inspect", "-f", "{{.State.Status}}", box) == "running"
        if "snap" in server.ok("volume", "ls", "-q").split():
            assert words(server, "snap") == ({"old"}, FILES)
        assert words(server, "vol") == ({"old"}, FILES)

    killed_in(server, "volume", "snapshot", "vol", "snap", check=check,
              prepare=lambda: server.ok("volume", "rm", "-f", "snap"))


@BOUNDS
def test_import(server: Daemon, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Over what is there, and into what isn't yet."""
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for number in range(1, FILES + 1):
            info = tarfile.TarInfo(f"d/{number}")
            info.size = 4
            tar.addfile(info, io.BytesIO(b"new\n"))
    fill(server, "old", "old", *options)
    server.ok("volume", "create", *options, "vol")

    def check() -> None:
        assert words(server, "vol") in (({"old"}, FILES), ({"new"}, FILES))
        if "fresh" in server.ok("volume", "ls", "-q").split():
            assert words(server, "fresh") == ({"new"}, FILES)

    for name, prepare in (("vol", lambda: server.ok("volume", "restore", "vol", "old")),
                          ("fresh", lambda: server.ok("volume", "rm", "-f", "fresh"))):
        server.ok("volume", "restore", "vol", "old")
        killed_in(server, "volume", "import", name, data=tmp_path / "in.tar", prepare=prepare, check=check)


@BOUNDS
def test_copy_up(server: Daemon, options: tuple[str, ...]) -> None:
    """Who comes next finds all that the image has, whether the first try got to its end or not."""
    mount = ",".join(["type=volume,source=vol,target=/data", *(f"volume-opt={o}" for o in options[1:])])

    def prepare() -> None:
        server.clean()
        server.ok("volume", "rm", "-f", "vol")

    def check() -> None:
        found = server.ok("run", "--rm", "--mount", mount, "filled:1", "sh", "-c", "cat /data/*; ls /data | wc -l")
        assert (set(found.split()[:-1]), found.split()[-1]) == ({"image"}, str(FILES))

    killed_in(server, "create", "--mount", mount, "filled:1", prepare=prepare, check=check)
    server.clean()


def test_create_with_a_bound(server: Daemon) -> None:
    def check() -> None:
        if server.ok("volume", "ls", "-q"):
            assert server.ok("run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c", "touch /v/x && ls /v") == "x"
            assert server.ok("volume", "inspect", "-f", "{{.Status.Quota}}", "vol") == str(16 << 20)

    killed_in(server, "volume", "create", "-o", "size=16m", "vol", check=check,
              prepare=lambda: server.ok("volume", "rm", "-f", "vol"))
