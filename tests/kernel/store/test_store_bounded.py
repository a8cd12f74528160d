"""Snapshots with a bound: all that a snapshot can do, and no byte above it; nothing stays attached."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from kist.errors import InvalidParameter
from kist.linux import ext4, mount
from kist.store import bounded
from kist.store.store import Store
from support.tars import directory, file, put_image, tar

MIB = 1 << 20
BASE = tar(directory("./", 0o751), directory("etc"), file("etc/passwd", b"root\n"), file("etc/old", b"old"))


@pytest.fixture
def image(store: Store) -> Iterator[str]:
    """The image of the snapshot ``c1``, 16 MiB; nobody has it attached after the test."""
    store.snapshots.prepare("c1", put_image(store, None, BASE).chain_id, quota=16 * MIB)
    found = store.snapshots.quota("c1")
    assert found is not None
    assert found["size"] == 16 * MIB
    yield found["image"]
    assert free_again(found["image"])


def loops(image: str) -> str:
    return subprocess.run(["losetup", "-j", image], text=True, capture_output=True, check=True).stdout


def free_again(image: str) -> bool:
    """The kernel lets go of a loop device shortly after its last user went."""
    for _ in range(200):
        if not loops(image):
            return True
        time.sleep(0.05)
    return False


@contextmanager
def running(store: Store, at: Path) -> Iterator[Path]:
    """As a container's init does it: the image first, the overlay over it."""
    found = store.snapshots.quota("c1")
    assert found is not None
    at.mkdir(exist_ok=True)
    fd = ext4.mounted(found["image"])
    mount.move_mount(fd, mount.AT_FDCWD, str(at))
    os.close(fd)
    made = store.snapshots.mounts("c1")[-1]
    options = ",".join(made["options"]).replace("dir=QUOTA/", f"dir={at}/")
    subprocess.run(["mount", "-i", "-t", "overlay", "overlay", at, "-o", options], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)
        subprocess.run(["umount", at], check=True)


def fill(path: Path, size: int) -> int:
    """How many bytes could be written."""
    done = 0
    with path.open("wb", buffering=0) as out:
        try:
            while done < size:
                done += out.write(bytes(MIB))
            os.fsync(out.fileno())
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return done


def test_what_was_asked_for_fits_and_no_more(store: Store, image: str, tmp_path: Path) -> None:
    with running(store, tmp_path / "m") as root:
        assert fill(root / "fits", 15 * MIB) == 15 * MIB
        (root / "fits").unlink()
        assert 15 * MIB <= fill(root / "big", 64 * MIB) <= 17 * MIB
        (root / "big").unlink()
    # what a container deletes is given back to the disk
    assert os.stat(image).st_blocks * 512 < 8 * MIB


def test_it_is_a_snapshot_like_any_other(store: Store, image: str, tmp_path: Path) -> None:
    with running(store, tmp_path / "m") as root:
        assert root.stat().st_mode & 0o777 == 0o751
        (root / "etc/old").unlink()
        (root / "new").write_bytes(b"n" * 5000)
        seen = store.snapshots.diff("c1"), store.snapshots.usage("c1")
        assert len(loops(image).splitlines()) == 1
    assert (store.snapshots.diff("c1"), store.snapshots.usage("c1")) == seen
    assert [tuple(change) for change in seen[0]] == [("C", "/etc"), ("D", "/etc/old"), ("A", "/new")]
    assert seen[1].size == 5000
    with store.snapshots.view("c1") as fd:
        assert sorted(os.listdir(f"/proc/self/fd/{fd}")) == ["etc", "new"]
    with store.snapshots.edit("c1") as fd:
        os.mkdir("made", dir_fd=fd)
    with running(store, tmp_path / "m") as root:
        assert sorted(os.listdir(root)) == ["etc", "made", "new"]
    for write in (store.snapshots.export, store.snapshots.commit):
        out = io.BytesIO()
        write("c1", out)
        assert b"made" in out.getvalue()


def test_many_look_in_at_once(store: Store, image: str, tmp_path: Path) -> None:
    """All of them by one loop device: two would be two file systems that write over each other."""
    with running(store, tmp_path / "m") as root, ThreadPoolExecutor(8) as threads:
        (root / "new").write_bytes(b"n" * 5000)
        sizes = list(threads.map(lambda _: store.snapshots.usage("c1").size, range(32)))
        assert sizes == [5000] * 32
        assert len(loops(image).splitlines()) == 1


def test_on_kernels_that_take_no_detached_directory(store: Store, image: str, tmp_path: Path) -> None:
    """There the image gets a place for a moment (older kernels refuse what has none)."""
    (tmp_path / "scratch").mkdir()

    def make(root: str) -> int:
        if root.startswith("/proc/"):
            raise OSError(errno.EINVAL, "Invalid argument")
        return mount.detached("overlay", [f"lowerdir={root}/upper:{root}/work"])

    os.close(bounded.overlay(os.path.dirname(image), str(tmp_path / "scratch"), make))
    assert os.listdir(tmp_path / "scratch") == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_a_machine_that_lost_power(store: Store, image: str, tmp_path: Path) -> None:
    """What the superblock says decides: not unmounted, so it is checked, and damage mended, before it is used."""
    with running(store, tmp_path / "m") as root:
        (root / "kept").write_text("kept")
    assert free_again(image)
    subprocess.run(["debugfs", "-w", "-R", "set_super_value state 0", image], check=True, capture_output=True)
    subprocess.run(["debugfs", "-w", "-R", "set_inode_field /upper/kept links_count 9", image], check=True,
                   capture_output=True)
    with running(store, tmp_path / "m") as root:
        assert (root / "kept").read_text() == "kept"
        assert (root / "kept").stat().st_nlink == 1


def test_without_the_programs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ext4, "_PATH", "/nowhere")
    with pytest.raises(InvalidParameter, match=r"mkfs.ext4 .* \(package e2fsprogs\)"):
        store.snapshots.prepare("c2", None, quota=16 * MIB)
    assert store.snapshots.chains() == {}


def test_a_disk_that_takes_no_file_of_that_size(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="prepare container's file system"):
        store.snapshots.prepare("c2", None, quota=1 << 62)
    assert store.snapshots.chains() == {}
    store.wait_for_trash()
    assert os.listdir(tmp_path / "data/staging") == []
