"""Containers that swap links and mounts while cp, export and starts look for a way through: nothing leads to the host.

Beside `test_cp_mounts.py`, whose container has no privilege: these may mount, see the host's processes, or share the
volume of one that is looked into.
"""

from __future__ import annotations

import http.client
import io
import os
import stat
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.daemon import Daemon
from system.api_http import ask

SECONDS = 3
SECRET = b"of the host"
# A folder, a mount, a link to the host's folder by its own path and by the host's process 1: always by the same name.
SWAP = """mkdir -p /a/real /a/real/sub; echo mine > /a/real/secret
ln -s "$HOST" /a/plain; ln -s "/proc/1/root$HOST" /a/magic; ln -s /proc/self/root /a/real/own
while true; do
mv /a/real /a/dir; mount -t tmpfs t /a/dir 2>/dev/null && { mkdir /a/dir/sub; umount /a/dir; }; mv /a/dir /a/real
mv /a/plain /a/dir; mv /a/dir /a/plain; mv /a/magic /a/dir; mv /a/dir /a/magic; done"""


@pytest.fixture
def host(daemon: Daemon, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "secret").write_bytes(SECRET)
    (folder / "secret").chmod(0o600)
    yield folder
    daemon.clean()
    daemon.ok("volume", "rm", "swapped", "other")


def seen(folder: Path) -> list[tuple[str, int, int, bytes]]:
    """All that could be changed of it."""
    found = []
    for path in sorted([folder, *folder.rglob("*")]):
        info = path.lstat()
        found.append((str(path), info.st_mode, info.st_uid, path.read_bytes() if stat.S_ISREG(info.st_mode) else b""))
    return found


def given() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind in (("secret", tarfile.REGTYPE), ("sub", tarfile.DIRTYPE), ("sub/file", tarfile.REGTYPE),
                           ("node", tarfile.FIFOTYPE), ("hard", tarfile.LNKTYPE), ("link", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid = kind, 0o4777, 99
            info.linkname = {"hard": "secret", "link": "/etc"}.get(name, "")
            tar.addfile(info, io.BytesIO())
    return out.getvalue()


def attacked(*workers: Callable[[], object]) -> list[int]:
    """Each again and again, side by side; how often each came to its end. What they raise fails the test."""
    end, counts = time.monotonic() + SECONDS, [0] * len(workers)
    errors: list[BaseException] = []

    def work(index: int) -> None:
        try:
            while time.monotonic() < end:
                workers[index]()
                counts[index] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    return counts


def read(daemon: Daemon, name: str, path: str) -> int:
    try:
        status, answer = ask(daemon, "GET", f"/containers/{name}/archive?path={path}")
    except http.client.IncompleteRead:  # it went between look and read: told by an answer that is cut off
        return 0
    assert SECRET not in answer if isinstance(answer, bytes) else SECRET.decode() not in str(answer)
    return status


def write(daemon: Daemon, name: str, path: str) -> int:
    return ask(daemon, "PUT", f"/containers/{name}/archive?path={path}", given())[0]


@pytest.mark.parametrize("options", [["--cap-add", "SYS_ADMIN"], ["--pid", "host"], ["--privileged", "--pid", "host"]],
                         ids=["mounts", "host's processes", "both"])
def test_a_running_container_that_swaps_links_and_mounts(daemon: Daemon, host: Path, options: list[str]) -> None:
    before = seen(host)
    daemon.ok("volume", "create", "other")
    daemon.ok("run", "-d", "--name", "evil", *options, "-e", f"HOST={host}", "-v", "swapped:/a", "busybox", "sh", "-c",
              SWAP)
    statuses: set[int] = set()
    attacked(lambda: statuses.add(write(daemon, "evil", "/a/dir")),
             lambda: statuses.add(write(daemon, "evil", "/a/dir/sub")),
             lambda: statuses.update(read(daemon, "evil", path) for path in ("/a/dir/secret", "/a/dir/", "/a",
                                                                              "/a/real/own/a/magic/secret")))
    assert statuses >= {200} and seen(host) == before, statuses
    assert read(daemon, "evil", f"/proc/1/root{host}") != 200
    read(daemon, "evil", "/a/magic/secret")  # by now perhaps a folder of its own: anything but the host's


def test_a_stopped_container_whose_volume_is_swapped(daemon: Daemon, host: Path) -> None:
    """Its mounts are put together anew for every look: one of them lies in what the other container swaps."""
    before = seen(host)
    daemon.ok("run", "-d", "--name", "evil", "-e", f"HOST={host}", "-v", "swapped:/a", "busybox", "sh", "-c", SWAP)
    daemon.ok("create", "--name", "down", "-v", "swapped:/a", "-v", "other:/a/dir/sub", "busybox", "true")
    attacked(lambda: write(daemon, "down", "/a/dir"), lambda: read(daemon, "down", "/a/dir/"),
             lambda: read(daemon, "down", "/a/dir/secret"))
    assert seen(host) == before
    assert str(host) not in Path("/proc/self/mountinfo").read_text()


def test_starts_on_a_volume_that_is_swapped(daemon: Daemon, host: Path) -> None:
    """A mount below the volume, a part of the volume, and its working directory: each where a link may be by then."""
    before = seen(host)
    daemon.ok("run", "-d", "--name", "evil", "-e", f"HOST={host}", "-v", "swapped:/a", "busybox", "sh", "-c", SWAP)
    look = "cat /a/dir/secret /x/secret /proc/1/root/x/secret 2>/dev/null; ls -la /x; true"

    def start(*options: str) -> None:
        done = daemon.kist("run", "--rm", *options, "busybox", "sh", "-c", look)
        assert SECRET.decode() not in done.stdout + done.stderr, done

    attacked(lambda: start("-v", "swapped:/a", "-v", "other:/a/dir/sub"),
             lambda: start("--mount", "type=volume,source=swapped,target=/x,volume-subpath=dir"),
             lambda: start("-v", "swapped:/a", "-w", "/a/dir/sub", "--tmpfs", "/a/dir"))
    assert seen(host) == before
    assert not [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(host) in line]
    assert os.listdir(daemon.data / "volumes.new") == []
