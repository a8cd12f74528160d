"""`cp` through volumes and binds of running and stopped containers, in Docker's words; and against a hostile one."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import requests

from support import needs
from support.daemon import CLIENT, Daemon, docker_command

MAKE = "mkdir /dst; echo x > /dst/file; ln -s /dst /lnk; mkfifo /dst/pipe; echo v > /vol/in; sleep 1000"


@pytest.fixture
def box(daemon: Daemon, tmp_path: Path) -> Iterator[Daemon]:
    """Containers `up` and `down` with the same volume and the same read-only bind, and `shut` with a read-only root."""
    (tmp_path / "bind").mkdir()
    (tmp_path / "bind" / "f").write_text("of the host\n")
    mounts = ["-v", "cpvol:/vol", "-v", f"{tmp_path}/bind:/bind:ro", "--tmpfs", "/tm"]
    daemon.ok("create", "--name", "down", *mounts, "busybox", "true")
    daemon.ok("create", "--name", "shut", "--read-only", "-v", "cpvol:/vol", "busybox", "true")
    daemon.ok("run", "-d", "--name", "up", *mounts, "busybox", "sh", "-c", MAKE)
    end = time.monotonic() + 30
    while daemon.kist("exec", "up", "test", "-e", "/vol/in").returncode:
        assert time.monotonic() < end
    yield daemon
    daemon.clean()
    daemon.ok("volume", "rm", "cpvol")


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
@pytest.mark.parametrize("name", ["up", "down"])
def test_through_volumes_and_binds(box: Daemon, tmp_path: Path, by: str, name: str) -> None:
    cp = getattr(box, by)
    (tmp_path / "f").write_text("new\n")
    os.chown(tmp_path / "f", 1234, 2345)
    for source, text in (("/vol/in", "v\n"), ("/bind/f", "of the host\n")):
        assert cp("cp", f"{name}:{source}", str(tmp_path / "out")).returncode == 0
        assert (tmp_path / "out").read_text() == text
    assert cp("cp", "-a", str(tmp_path / "f"), f"{name}:/vol/new").returncode == 0
    assert box.ok("exec", "up", "stat", "-c", "%u %g", "/vol/new") == "1234 2345"
    assert box.ok("exec", "up", "cat", "/vol/new") == "new"
    done = cp("cp", str(tmp_path / "f"), f"{name}:/bind/new")
    assert done.returncode == 1 and "mounted volume is marked read-only" in done.stderr
    assert sorted(os.listdir(tmp_path / "bind")) == ["f"]
    mounts = Path("/proc/self/mountinfo").read_text()
    assert f"{box.run}/root" not in mounts and "/down" not in mounts


@pytest.mark.parametrize("client", [CLIENT, [docker_command()]], ids=["kist", "docker"])
@pytest.mark.parametrize("name", ["up", "down"])
def test_the_whole_of_a_container(box: Daemon, tmp_path: Path, client: list[str], name: str) -> None:
    """With its volumes and binds, and of what the kernel makes up no more than where it is mounted."""
    with (tmp_path / "whole.tar").open("wb") as out:
        done = subprocess.run([*client, "cp", f"{name}:/", "-"], stdout=out, stderr=subprocess.PIPE, timeout=60,
                              check=False, env=box.env)
    assert (done.returncode, done.stderr) == (0, b"")
    with tarfile.open(tmp_path / "whole.tar") as archive:
        names = {one.name.strip("/") for one in archive}
    assert {"bin/busybox", "vol/in", "bind/f"} <= names
    assert name == "down" or {"proc", "etc/hosts"} <= names  # what a start has made
    assert not [one for one in names if one.startswith(("proc/", "sys/", "dev/pts/", "dev/mqueue/"))]


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_a_link_as_the_target_is_followed(box: Daemon, tmp_path: Path, by: str) -> None:
    (tmp_path / "d").mkdir()
    for link, to in (("l1", "new"), ("l2", "d")):
        (tmp_path / link).symlink_to(to)
        assert getattr(box, by)("cp", "up:/vol/in", link, cwd=tmp_path).returncode == 0
        assert (tmp_path / link).is_symlink()
    assert (tmp_path / "new").read_text() == (tmp_path / "d/in").read_text() != ""


@pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
def test_the_words_of_refusals(box: Daemon, tmp_path: Path, by: str) -> None:
    """Real Docker 26's."""
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    missing = "Could not find the file {} in container {}"
    for name in ("up", "down"):
        for args, words in (
            ((f"{name}:/nope", "out"), missing.format("/nope", name)),
            ((f"{name}:/nope/x", "out"), missing.format("/nope/x", name)),
            (("f", f"{name}:/nope/x"), missing.format("/nope", name)),
            (("f", f"{name}:/nope/"), "no such directory"),
            (("nope", f"{name}:/"), f"lstat {tmp_path}/nope: no such file or directory"),
            (("d", f"{name}:/vol/in"), "cannot copy directory"),
            (("f", f"{name}:/bin/busybox/"), "no such directory"),
            (("f", f"{name}:/bin/busybox/."), "no such directory"),
            (("f", f"{name}:/bin/busybox/x"), "extraction point is not a directory"),
            (("d", f"{name}:/vol/in/"), 'cannot overwrite non-directory "/vol/in" with directory "/vol"'),
            (("-", f"{name}:/bin/busybox/"), f'destination "{name}:/bin/busybox/" must be a directory'),
            ((f"{name}:/bin/busybox/", "d"), "lstat /bin/busybox/: not a directory"),
            ((f"{name}:/bin/busybox/.", "d"), "lstat /bin/busybox/.: not a directory"),
            ((f"{name}:/bin/busybox/x", "-"), "lstat /bin/busybox/x: not a directory"),
            ((f"{name}:/vol/in", "f/"), "stat f/: not a directory" if by == "kist" else "f/: not a directory"),
            ((f"{name}:/vol/in", "f/x"), "f/x: not a directory"),
            ((f"{name}:/vol/in", "new/."), "new: no such file or directory"),
            ((f"{name}:/vol", "new/."), "new: no such file or directory"),
            ((f"{name}:/vol/in", "nodir/x/"), f'invalid output path: directory "{tmp_path}/nodir" does not exist'),
            (("-", f"{name}:/nope"), f'destination "{name}:/nope" must be a directory'),
            (("f", "shut:/etc/x"), "container rootfs is marked read-only"),
            (("f", "nope:/x"), "No such container: nope"),
            (("up:/x", "down:/y"), "copying between containers is not supported"),
            (("a", "b"), "must specify at least one container source"),
            (("up:/dst/file", "nodir/x"), f'invalid output path: directory "{tmp_path}/nodir" does not exist'),
        ):
            done = getattr(box, by)("cp", *args, cwd=tmp_path)
            assert done.returncode == 1 and words in done.stderr, (args, done)
    assert getattr(box, by)("cp", "f", "shut:/vol/fine", cwd=tmp_path).returncode == 0


def test_owners(box: Daemon, tmp_path: Path) -> None:
    """As Docker: what the archive says; with -a, of a container with a user of its own, that user."""
    (tmp_path / "f").touch()
    os.chown(tmp_path / "f", 1234, 2345)
    box.ok("run", "-d", "--name", "user", "-u", "7:8", "busybox", "sleep", "1000")
    box.ok("cp", str(tmp_path / "f"), "user:/plain")
    box.ok("cp", "-a", str(tmp_path / "f"), "user:/archive")
    box.ok("cp", "-a", str(tmp_path / "f"), "up:/archive")
    assert box.ok("exec", "user", "stat", "-c", "%u %g", "/plain", "/archive").splitlines() == ["1234 2345", "7 8"]
    assert box.ok("exec", "up", "stat", "-c", "%u %g", "/archive") == "1234 2345"


def test_a_pipe_and_the_etc_files_of_a_stopped_container(box: Daemon) -> None:
    client = docker.DockerClient(base_url=box.env["DOCKER_HOST"])
    try:
        up = client.containers.get("up")
        pieces, _ = up.get_archive("/dst/pipe")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
            assert tar.getmembers()[0].isfifo()
        up.stop(timeout=0)
        pieces, _ = up.get_archive("/etc/hosts")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
            member = tar.extractfile("hosts")
            assert member is not None and b"localhost" in member.read()
    finally:
        client.close()


SWAP = """cd /a; mkdir real; echo mine > real/secret; ln -s "$HOST" host; ln -s "$HOST/secret" node
while true; do mv real dir; usleep 300; cp -a node dir/node 2>/dev/null; rm -rf dir/sub; cp -a host dir/sub 2>/dev/null
usleep 300; mv dir real; rm -f real/node; rm -rf real/sub; mv host dir; usleep 300; mv dir host; done"""


def test_a_container_that_swaps_links_gets_nothing_of_the_host(daemon: Daemon, tmp_path: Path) -> None:
    """For as long as it lasts: into and out of a directory that the container makes a link to the host's, and back."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "secret").write_text("of the host\n")
    (host / "secret").chmod(0o600)
    before = _seen(host)
    daemon.ok("run", "-d", "--name", "evil", "-e", f"HOST={host}", "-v", "swapped:/a", "busybox", "sh", "-c", SWAP)
    stop = threading.Event()
    client = docker.DockerClient(base_url=daemon.env["DOCKER_HOST"], timeout=30)
    try:
        evil = client.containers.get("evil")
        workers = [threading.Thread(target=_into, args=(evil, stop)) for _ in range(2)]
        got: list[bytes] = []
        workers.append(threading.Thread(target=_out_of, args=(evil, stop, got)))
        for worker in workers:
            worker.start()
        for _ in range(20):
            daemon.ok("volume", "export", "-o", str(tmp_path / "volume.tar"), "swapped")
            assert b"of the host" not in (tmp_path / "volume.tar").read_bytes()
            (tmp_path / "volume.tar").unlink()
        stop.set()
        for worker in workers:
            worker.join()
        assert got and all(b"of the host" not in answer for answer in got)
        assert _seen(host) == before
    finally:
        stop.set()
        client.close()
        daemon.clean()
        daemon.ok("volume", "rm", "swapped")


def _seen(host: Path) -> list[tuple[str, int, int, bytes]]:
    """All that cp could change of it."""
    found = []
    for path in sorted([host, *host.rglob("*")]):
        info = path.lstat()
        found.append((str(path), info.st_mode, info.st_uid, path.read_bytes() if stat.S_ISREG(info.st_mode) else b""))
    return found


def _into(evil: docker.models.containers.Container, stop: threading.Event) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind in (("secret", tarfile.REGTYPE), ("sub", tarfile.DIRTYPE), ("sub/file", tarfile.REGTYPE),
                           ("node", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid = kind, 0o4777, 99
            tar.addfile(info, io.BytesIO())
    while not stop.is_set():
        try:
            evil.put_archive("/a/dir", out.getvalue())
        except docker.errors.APIError:  # it wasn't there just then
            pass


def _out_of(evil: docker.models.containers.Container, stop: threading.Event, got: list[bytes]) -> None:
    while not stop.is_set() or not got:
        for path in ("/a/dir/secret", "/a/dir", "/a"):
            try:
                got.append(b"".join(evil.get_archive(path)[0]))
            except (docker.errors.APIError, requests.exceptions.ChunkedEncodingError):
                pass  # it went before the look, or between look and read
