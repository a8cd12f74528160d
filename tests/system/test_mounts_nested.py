"""Mounts in mounts, over files, over those that Kist makes, and where the kernel's are: as real Docker 26 has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docker
import pytest
from docker.types import Mount

from support import needs
from support.daemon import Daemon
from system.api_http import ask

BY = pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
GENERATED = ["hostname", "hosts", "resolv.conf"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    (folder / "d").mkdir(parents=True)
    (folder / "file").write_text("mine\n")
    (folder / "d" / "x").write_text("x\n")
    return folder


def inside(server: Daemon, by: str, *args: str, do: str) -> list[str]:
    done = getattr(server, by)("run", "--rm", *args, "busybox", "sh", "-c", do)
    assert done.returncode == 0, (args, done)
    lines: list[str] = done.stdout.splitlines()
    return lines


@BY
def test_parents_come_first_whatever_the_order(server: Daemon, source: Path, by: str) -> None:
    server.ok("volume", "create", "vol")
    mounts = ["-v", f"{source}/d:/x/v/deep", "-v", f"{source}:/x", "--tmpfs", "/x/v", "-v", "vol:/x/v/deep/d"]
    (source / "v").mkdir()
    (source / "d" / "d").mkdir()
    assert inside(server, by, *mounts, do="ls /x /x/v /x/v/deep; touch /x/v/deep/d/mark") == [
        "/x:", "d", "file", "v", "", "/x/v:", "deep", "", "/x/v/deep:", "d", "x"]
    assert inside(server, by, "-v", "vol:/v", do="ls /v") == ["mark"]
    assert not (source / "d" / "d" / "mark").exists() and list((source / "v").iterdir()) == []


@BY
def test_over_a_file_and_over_those_that_kist_makes(server: Daemon, source: Path, by: str) -> None:
    for name in ("hosts", "resolv.conf", "hostname", "passwd"):
        found = inside(server, by, "-v", f"{source}/file:/etc/{name}", do=f"cat /etc/{name}; echo more >> /etc/{name}")
        assert found[0] == "mine", name
        assert (source / "file").read_text().endswith("more\n")
        (source / "file").write_text("mine\n")
    for args in ([f"{source}/d:/etc/passwd"], [f"{source}/file:/etc"]):
        done = getattr(server, by)("run", "--rm", "-v", *args, "busybox", "true")
        assert done.returncode == 125 and (
            "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists "
            "and is the expected type") in done.stderr, done


@BY
def test_who_mounts_something_on_etc_has_the_generated_files_in_it(server: Daemon, source: Path, by: str) -> None:
    resolves = "grep -q $(hostname) /etc/hosts && grep -q nameserver /etc/resolv.conf && ls /etc"
    assert inside(server, by, "--tmpfs", "/etc", do=resolves) == GENERATED
    assert inside(server, by, "--tmpfs", "/etc:ro", do=resolves) == GENERATED
    assert inside(server, by, "--mount", "type=tmpfs,dst=/etc,ro", do="touch /etc/x 2>&1 || true")[0].endswith(
        "Read-only file system")
    assert inside(server, by, "-v", f"{source}/d:/etc", do=resolves) == [*GENERATED, "x"]
    assert (source / "d" / "hosts").read_text() == ""  # the place of a mount, made in the folder as Docker does
    done = getattr(server, by)("run", "--rm", "-v", f"{source}:/etc:ro", "busybox", "true")
    assert done.returncode == 125 and "/etc/resolv.conf" in done.stderr


@BY
def test_read_only_means_the_generated_files_too(server: Daemon, by: str) -> None:
    touch = "for f in hosts resolv.conf hostname; do echo x >> /etc/$f && echo $f; done 2>/dev/null; true"
    assert inside(server, by, "--read-only", do=touch) == []
    assert inside(server, by, do=touch) == ["hosts", "resolv.conf", "hostname"]
    assert inside(server, by, "--read-only", "--tmpfs", "/t:size=1m,mode=700", "-v", "vol:/new/place", do=(
        "for d in / /t /new/place /dev/shm /new; do touch $d/x 2>/dev/null && echo $d; done; stat -c %a /t")) == [
            "/t", "/new/place", "/dev/shm", "700"]


@BY
def test_a_read_only_tmpfs_takes_mounts(server: Daemon, source: Path, by: str) -> None:
    mounts = ["--tmpfs", "/t:ro", "-v", f"{source}:/t/a/b", "-v", "vol:/t/v"]
    assert inside(server, by, *mounts, do="cat /t/a/b/file; touch /t/v/x; touch /t/x /t/a/x 2>/dev/null || ls /t") == [
        "mine", "a", "v"]


@BY
def test_nothing_goes_over_the_kernels_files(server: Daemon, source: Path, by: str) -> None:
    """By its own name, or by a link of the image's (CVE-2019-16884, CVE-2019-19921)."""
    server.ok("run", "--name", "maker", "busybox", "ln", "-s", "/proc", "/way")
    server.ok("commit", "maker", "linked:1")
    for args, words in ((["-v", f"{source}:/proc"], "on /proc: it is not procfs"),
                        (["--tmpfs", "/proc"], "on /proc: it is not procfs"),
                        (["-v", f"{source}:/proc/sys"], "nothing may be mounted inside /proc"),
                        (["-v", f"{source}:/way/sys"], "nothing may be mounted inside /proc"),
                        (["-v", f"{source}/file:/way/version"], "nothing may be mounted inside /proc"),
                        (["-v", f"{source}:/way"], "nothing may be mounted inside /proc"),
                        (["--tmpfs", "/way/sys"], "nothing may be mounted inside /proc")):
        done = getattr(server, by)("run", "--rm", *args, "linked:1", "true")
        assert done.returncode == 125 and words in done.stderr, (args, done)
    assert inside(server, by, "-v", f"{source}/file:/proc/cpuinfo", do="cat /proc/cpuinfo") == ["mine"]
    assert inside(server, by, "-v", "/proc:/proc:ro", do="ls -d /proc/1/ns") == ["/proc/1/ns"]
    server.ok("rm", "maker")
    server.ok("rmi", "linked:1")


def test_a_place_on_the_host_by_the_api_and_docker_py(server: Daemon, tmp_path: Path) -> None:
    """BindOptions.CreateMountpoint: Docker's command has no word for it before 29."""
    place = tmp_path / "new" / "place"
    entry: dict[str, Any] = {"Type": "bind", "Source": str(place), "Target": "/x"}

    def create(**options: Any) -> tuple[int, Any]:
        return ask(server, "POST", "/v1.51/containers/create", {
            "Image": "busybox", "Cmd": ["touch", "/x/made"], "HostConfig": {"Mounts": [{**entry, **options}]}})

    missing = f'invalid mount config for type "bind": bind source path does not exist: {place}'
    assert create() == (400, {"message": missing})
    assert create(BindOptions={"CreateMountpoint": False}) == (400, {"message": missing})
    status, made = create(BindOptions={"CreateMountpoint": True})
    assert status == 201 and place.is_dir()
    assert server.ok("start", "-a", made["Id"]) == "" and (place / "made").exists()
    asked = ask(server, "GET", f"/v1.51/containers/{made['Id']}/json")[1]["HostConfig"]["Mounts"]
    assert asked[0]["Source"] == str(place) and asked[0]["BindOptions"]["CreateMountpoint"] is True
    client = docker.DockerClient(base_url=server.env["DOCKER_HOST"])
    try:
        other = Mount("/y", str(tmp_path / "by-py"), type="bind")
        with pytest.raises(docker.errors.APIError, match="bind source path does not exist"):
            client.containers.run("busybox", "true", mounts=[other])
        other["BindOptions"] = {"CreateMountpoint": True}
        client.containers.run("busybox", "touch /y/made", mounts=[other], remove=True)
        assert (tmp_path / "by-py" / "made").exists()
    finally:
        client.close()
