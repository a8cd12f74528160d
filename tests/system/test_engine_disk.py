"""A full disk: clear words, nothing half-made, what runs goes on, and removing makes room again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.hub import Hub


@pytest.fixture
def box(tmp_path: Path, hub: Hub) -> Iterator[Daemon]:
    """A server whose data lie on a file system of 96 MB."""
    small, folder = tmp_path / "small", tmp_path / "box"
    small.mkdir()
    folder.mkdir()
    (folder / "data").symlink_to(small)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(small)], check=True)
    try:
        made = Daemon(folder, mirror=hub.url)
        try:
            made.ok("pull", "-q", "busybox")
            yield made
        finally:
            made.close()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_full_disk(box: Daemon) -> None:
    box.ok("run", "-d", "--name", "runs", "busybox", "sleep", "1000")
    filled = box.docker("run", "--name", "filler", "busybox", "dd", "if=/dev/zero", "of=/fill", "bs=64k")
    assert "No space left on device" in filled.stderr
    for command in (["run", "--rm", "busybox", "true"], ["create", "busybox"], ["volume", "create", "more"],
                    ["commit", "filler", "image"]):
        done = box.docker(*command)
        assert done.returncode != 0
        assert "no space left on device" in done.stderr, done.stderr
    assert sorted(box.docker("ps", "-a", "--format", "{{.Names}}").stdout.split()) == ["filler", "runs"]
    assert len(list((box.data / "containers").iterdir())) == 2
    assert box.docker("exec", "runs", "echo", "still here").stdout == "still here\n"
    removed = box.docker("rm", "filler")
    assert removed.returncode == 0, removed.stderr
    assert box.docker("run", "--rm", "busybox", "echo", "room again").stdout == "room again\n"
