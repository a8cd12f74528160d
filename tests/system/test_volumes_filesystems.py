"""Volumes on the file systems that people have, each in a file of its own: shared blocks, bounds, id mappings."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import needs
from support.daemon import Daemon
from support.hub import Hub

MAKE = {"btrfs": ["mkfs.btrfs", "-q"], "xfs": ["mkfs.xfs", "-q"], "ext4": ["mkfs.ext4", "-q", "-F"], "tmpfs": []}
SHARING = ("btrfs", "xfs")
MB = 1 << 20
IDMAPPED = "stat -c '%u %g' /x/file; touch /x/made; stat -c '%u %g' /x/made"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A folder on a new file system of that kind, 400 MB."""
    made: list[Path] = []

    def make(kind: str) -> Path:
        folder = tmp_path / kind
        folder.mkdir()
        if kind == "tmpfs":
            command = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)]
        else:
            needs.program(MAKE[kind][0])
            image = tmp_path / f"{kind}.img"
            with image.open("wb") as file:
                file.truncate(400 * MB)
            subprocess.run([*MAKE[kind], image], check=True, capture_output=True)
            command = ["mount", "-o", "loop", str(image), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "unknown filesystem type" in done.stderr:
            needs.missing(f"the kernel has no {kind}")
        assert done.returncode == 0, done
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def on(mounted: Callable[[str], Path], hub: Hub) -> Iterator[Callable[[str], Daemon]]:
    """A server whose data is on a file system of that kind."""
    made: list[Daemon] = []

    def make(kind: str) -> Daemon:
        folder = mounted(kind) / "server"
        folder.mkdir()
        made.append(Daemon(folder, mirror=hub.url))
        made[-1].ok("pull", "-q", "busybox")
        return made[-1]

    yield make
    for server in made:
        server.close()


def data(server: Daemon, name: str) -> Path:
    return server.data / "volumes" / name / "_data"


def used(server: Daemon) -> int:
    """Bytes of the file system, once all is on it."""
    os.sync()
    info = os.statvfs(server.data)
    return (info.f_blocks - info.f_bfree) * info.f_frsize


def shared(path: Path) -> bool:
    """Whether all of the file's blocks are somebody else's as well (FIEMAP_EXTENT_SHARED)."""
    lines = subprocess.run(["filefrag", "-v", path], capture_output=True, text=True, check=True).stdout.splitlines()
    extents = [line for line in lines if line.split(":")[0].strip().isdecimal()]
    assert extents, lines
    return all("shared" in line for line in extents)


@pytest.mark.parametrize("kind", ["btrfs", "xfs", "ext4"])
def test_snapshots_share_their_blocks_where_that_can_be(on: Callable[[str], Daemon], kind: str) -> None:
    server = on(kind)
    server.ok("run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c",
              "dd if=/dev/urandom of=/v/big bs=1M count=40 2>/dev/null; echo small > /v/small; ln /v/big /v/same")
    content = (data(server, "vol") / "big").read_bytes()
    before = used(server)
    done = server.kist("volume", "snapshot", "vol", "snap")
    assert done.returncode == 0, done
    assert ("Copied 2 files" in done.stderr) is (kind not in SHARING), done
    grown = used(server) - before
    if kind in SHARING:
        assert grown < 8 * MB
        assert shared(data(server, "vol") / "big") and shared(data(server, "snap") / "big")
    else:
        assert grown >= 40 * MB
    assert (data(server, "snap") / "big").stat().st_nlink == 2
    server.ok("run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c", "echo changed > /v/small; echo new > /v/big")
    assert (data(server, "snap") / "big").read_bytes() == content
    assert (data(server, "snap") / "small").read_text() == "small\n"
    server.ok("volume", "restore", "vol", "snap")
    assert (data(server, "vol") / "big").read_bytes() == content
    if kind in SHARING:
        assert shared(data(server, "vol") / "big") and used(server) - before < 8 * MB


@pytest.mark.parametrize("kind", ["btrfs", "xfs", "tmpfs"])
def test_bounds_hold_and_their_snapshots_share(on: Callable[[str], Daemon], kind: str) -> None:
    server = on(kind)
    server.ok("volume", "create", "-o", "size=32m", "vol")
    fill = "dd if=/dev/urandom of=/v/big bs=1M count=64 2>&1; rm /v/big; dd if=/dev/urandom of=/v/kept bs=1M count=20"
    assert "No space left on device" in server.ok("run", "--rm", "-v", "vol:/v", "busybox", "sh", "-c", fill)
    before = used(server)
    server.ok("volume", "snapshot", "vol", "snap")
    assert kind not in SHARING or used(server) - before < 8 * MB
    same = "cat /a/kept | md5sum; cat /b/kept | md5sum; echo x > /a/kept"
    sums = server.ok("run", "--rm", "-v", "vol:/a", "-v", "snap:/b", "busybox", "sh", "-c", same).split()
    assert sums[0] == sums[2]
    server.ok("volume", "restore", "vol", "snap")
    assert server.ok("run", "--rm", "-v", "vol:/a", "busybox", "md5sum", "/a/kept").split()[0] == sums[0]


@pytest.mark.parametrize("kind", ["btrfs", "xfs", "ext4", "tmpfs"])
def test_id_mappings_have_effect(daemon: Daemon, mounted: Callable[[str], Path], kind: str) -> None:
    """Of a bind and of a volume, by the owner and by numbers: what is made is the owner's on the disk."""
    folder = mounted(kind) / "src"
    folder.mkdir()
    (folder / "file").touch()
    for path in (folder, folder / "file"):
        os.chown(path, 1234, 2345)
    daemon.ok("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={folder}", "mapped")
    numbers = "idmap=uids=@1234-7-1#5-0-1;gids=2345-8-1#0-0-1"
    for option, user in ((["-v", f"{folder}:/x:idmap"], "0:0"), (["-v", f"{folder}:/x:{numbers}"], "7:8"),
                         (["-v", "mapped:/x:idmap"], "0:0"), (["-v", f"mapped:/x:{numbers}"], "7:8"),
                         (["--mount", f"type=bind,source={folder},target=/x,idmap"], "9:9"),
                         (["--mount", "type=volume,source=mapped,target=/x,idmap"], "9:9"),
                         (["--mount", f"type=volume,source=mapped,target=/x,{numbers}"], "7:8")):
        seen = daemon.ok("run", "--rm", "-u", user, *option, "busybox", "sh", "-c", IDMAPPED)
        assert seen.splitlines() == [user.replace(":", " ")] * 2, option
        info = (folder / "made").stat()
        assert (info.st_uid, info.st_gid) == (1234, 2345), option
        (folder / "made").unlink()
    daemon.ok("volume", "rm", "mapped")


def test_id_mappings_of_a_bounded_volume_and_of_an_overlay(daemon: Daemon, tmp_path: Path) -> None:
    """What has a file system of its own takes them; an overlay as a whole doesn't (Linux 6.18), and that is told."""
    daemon.ok("volume", "create", "-o", "size=16m", "bounded")
    daemon.ok("run", "--rm", "-v", "bounded:/x", "busybox", "sh", "-c", "touch /x/file; chown -R 1234:2345 /x")
    option = ["--mount", "type=volume,source=bounded,target=/x,idmap"]
    assert daemon.ok("run", "--rm", "-u", "9:9", *option, "busybox", "sh", "-c", IDMAPPED).split() == ["9"] * 4
    assert daemon.ok("run", "--rm", "-v", "bounded:/x", "busybox", "stat", "-c", "%u %g", "/x/made") == "1234 2345"
    daemon.ok("volume", "rm", "bounded")
    parts = {name: tmp_path / name for name in ("lower", "upper", "work", "merged")}
    for path in parts.values():
        path.mkdir()
    options = "lowerdir={lower},upperdir={upper},workdir={work}".format(**parts)
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", parts["merged"]], check=True)
    try:
        os.chown(parts["merged"], 1234, 2345)
        (parts["merged"] / "file").touch()
        os.chown(parts["merged"] / "file", 1234, 2345)
        done = daemon.kist("run", "--rm", "-v", f"{parts['merged']}:/x:idmap", "busybox", "sh", "-c", IDMAPPED)
        if done.returncode:
            assert "/merged on /x: EINVAL: the file system takes no id mappings" in done.stderr, done
        else:
            assert done.stdout.split() == ["0"] * 4
            assert (parts["upper"] / "made").stat().st_uid == 1234
    finally:
        subprocess.run(["umount", parts["merged"]], check=True)
