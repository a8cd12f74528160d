"""Hints that a file system takes, or doesn't."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.engine.config import Config
from kist.engine.places import Places
from kist.linux import inode_flags
from kist.store.store import Store
from support import needs


def flags(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    try:
        return int(struct.unpack_from("=I", fcntl.ioctl(fd, inode_flags.FS_IOC_GETFLAGS, bytes(8)))[0])
    finally:
        os.close(fd)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of the test's own: the file system that pytest's folders lie on may have no such flags."""
    needs.program("mkfs.ext4")
    image, disk = tmp_path / "ext4.img", tmp_path / "ext4"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    disk.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_flag_is_added_to_those_that_are_there(disk: Path) -> None:
    no_dump = 0x40
    assert inode_flags.add(str(disk), inode_flags.FS_TOPDIR_FL)
    assert inode_flags.add(str(disk), no_dump)
    assert flags(disk) & no_dump and flags(disk) & inode_flags.FS_TOPDIR_FL


def test_a_file_system_without_flags() -> None:
    assert inode_flags.add("/proc", inode_flags.FS_TOPDIR_FL) is False
    with pytest.raises(FileNotFoundError):
        inode_flags.add("/proc/nothing", inode_flags.FS_TOPDIR_FL)


def test_layers_begin_in_parts_of_the_disk_of_their_own(disk: Path) -> None:
    with Store.open(str(disk / "data")):
        assert flags(disk / "data/staging") & inode_flags.FS_TOPDIR_FL
        assert not flags(disk / "data/layers") & inode_flags.FS_TOPDIR_FL


def test_containers_begin_in_parts_of_the_disk_of_their_own(disk: Path) -> None:
    places = Places(Config(data=str(disk / "data"), run=str(disk / "run")))
    for path in (places.containers, places.runs):
        assert flags(Path(path)) & inode_flags.FS_TOPDIR_FL
        assert os.stat(path).st_mode & 0o777 == 0o711


def test_a_run_directory_in_memory_takes_no_hint(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        Places(Config(data=str(tmp_path / "data"), run=memory))
