"""`idmap`: the files of the host's user are the container's user's, without chown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import docker
import pytest

from support.daemon import Daemon

SEE = "stat -c '%u %g' /x/file; touch /x/made; stat -c '%u %g' /x/made"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of the host's user 1234:2345, on a file system that takes id mappings."""
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "file").write_text("mine\n")
    (folder / "roots").write_text("root's\n")
    for path in (folder, folder / "file"):
        os.chown(path, 1234, 2345)
    return folder


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


@pytest.mark.parametrize("by", ["kist", "docker"])
def test_the_owner_is_the_containers_user(daemon: Daemon, source: Path, by: str) -> None:
    run = getattr(daemon, by)
    done = run("run", "--rm", "-v", f"{source}:/x:idmap", "busybox", "sh", "-c", SEE)
    assert done.stdout.splitlines() == ["0 0", "0 0"], done
    assert owner(source / "made") == (1234, 2345)
    (source / "made").unlink()
    done = run("run", "--rm", "-u", "77:88", "-v", f"{source}:/x:rw,idmap", "busybox", "sh", "-c", SEE)
    assert done.stdout.splitlines() == ["77 88", "77 88"], done
    assert owner(source / "made") == (1234, 2345)


def test_by_mount_and_by_numbers(daemon: Daemon, source: Path) -> None:
    option = f"type=bind,source={source},target=/x,idmap"
    found = daemon.ok("run", "--rm", "--mount", option, "busybox", "sh", "-c", SEE)
    assert found.splitlines() == ["0 0", "0 0"]
    (source / "made").unlink()
    numbers = "idmap=uids=1234-0-1;gids=2345-5-1#0-0-1"
    option = f"type=bind,source={source},target=/x,{numbers}"
    found = daemon.ok("run", "--rm", "-u", "0:5", "--mount", option, "busybox", "sh", "-c", SEE)
    assert found.splitlines() == ["0 5", "0 5"]
    assert owner(source / "made") == (1234, 2345)
    found = daemon.ok("run", "--rm", "-v", f"{source}:/x:ro,{numbers}", "busybox", "stat", "-c", "%u %g", "/x/file")
    assert found == "0 5"


def test_nobody_gets_at_the_files_of_the_hosts_root(daemon: Daemon, source: Path) -> None:
    """The container's root is the host's user there, and so has no way to make or to change a file of root's."""
    (source / "roots").chmod(0o600)
    do = "stat -c %u /x/roots; cat /x/roots; echo no > /x/roots; chown 1234 /x/file; chmod 777 /x/roots; true"
    found = daemon.kist("run", "--rm", "-v", f"{source}:/x:idmap", "busybox", "sh", "-c", do)
    assert found.stdout.strip() == "65534"
    assert (source / "roots").read_text() == "root's\n" and owner(source / "file") == (1234, 2345)
    assert (source / "roots").stat().st_mode & 0o777 == 0o600


def test_volumes_too_and_a_start_looks_anew(daemon: Daemon) -> None:
    client = docker.DockerClient(base_url=daemon.env["DOCKER_HOST"])
    try:
        data = Path(client.volumes.create("mapped").attrs["Mountpoint"])
        os.chown(data, 5, 6)
        box = client.containers.create("busybox", ["sh", "-c", "mktemp -p /x >/dev/null; stat -c '%u %g' /x"],
                                       volumes=["mapped:/x:idmap"], user="9:9")
        box.start()
        box.wait()
        assert box.logs() == b"9 9\n" and {owner(path) for path in data.iterdir()} == {(5, 6)}
        os.chown(data, 7, 8)
        box.start()
        box.wait()
        assert box.logs() == b"9 9\n9 9\n" and (7, 8) in {owner(path) for path in data.iterdir()}
        box.remove()
        client.volumes.get("mapped").remove()
    finally:
        client.close()


def test_what_makes_no_sense_is_refused(daemon: Daemon, source: Path) -> None:
    for words in ("idmap=uids=1-2", "idmap=uids=0-0-1", "idmap=uids=0-0-2#1-5-1;gids=0-0-1", "idmap,idmap"):
        done = daemon.kist("create", "-v", f"{source}:/x:{words}", "busybox")
        assert done.returncode == 1 and "invalid " in done.stderr, words
    done = daemon.kist("create", "--mount", "type=tmpfs,target=/x,idmap", "busybox")
    assert done.returncode == 1 and "idmap is for binds and volumes" in done.stderr


def test_a_file_system_that_takes_none_says_so(daemon: Daemon) -> None:
    done = daemon.kist("run", "--rm", "-v", "/proc/sys:/x:idmap", "busybox", "true")
    assert done.returncode in (125, 126) and "bind /proc/sys on /x: EINVAL" in done.stderr
    assert subprocess.run(["stat", "-c", "%u", "/proc/sys"], capture_output=True, text=True, check=True).stdout == "0\n"
