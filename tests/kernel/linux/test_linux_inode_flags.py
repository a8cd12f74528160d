"""Hints that a file system takes, or doesn't."""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
from pathlib import Path

import pytest

from kist.engine.config import Config
from kist.engine.places import Places
from kist.linux import inode_flags
from kist.store.store import Store


def flags(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    try:
        return int(struct.unpack_from("=I", fcntl.ioctl(fd, inode_flags.FS_IOC_GETFLAGS, bytes(8)))[0])
    finally:
        os.close(fd)


def test_a_flag_is_added_to_those_that_are_there(tmp_path: Path) -> None:
    if not inode_flags.add(str(tmp_path), inode_flags.FS_TOPDIR_FL):
        pytest.skip("the tests' file system has no such flag")
    no_dump = 0x40
    assert inode_flags.add(str(tmp_path), no_dump)
    assert flags(tmp_path) & no_dump and flags(tmp_path) & inode_flags.FS_TOPDIR_FL


def test_a_file_system_without_flags() -> None:
    assert inode_flags.add("/proc", inode_flags.FS_TOPDIR_FL) is False
    with pytest.raises(FileNotFoundError):
        inode_flags.add("/proc/nothing", inode_flags.FS_TOPDIR_FL)


def test_layers_begin_in_parts_of_the_disk_of_their_own(tmp_path: Path) -> None:
    if not inode_flags.add(str(tmp_path), inode_flags.FS_TOPDIR_FL):
        pytest.skip("the tests' file system has no such flag")
    with Store.open(str(tmp_path / "data")):
        assert flags(tmp_path / "data/staging") & inode_flags.FS_TOPDIR_FL
        assert not flags(tmp_path / "data/layers") & inode_flags.FS_TOPDIR_FL


def test_containers_begin_in_parts_of_the_disk_of_their_own(tmp_path: Path) -> None:
    if not inode_flags.add(str(tmp_path), inode_flags.FS_TOPDIR_FL):
        pytest.skip("the tests' file system has no such flag")
    places = Places(Config(data=str(tmp_path / "data"), run=str(tmp_path / "run")))
    for path in (places.containers, places.runs):
        assert flags(Path(path)) & inode_flags.FS_TOPDIR_FL
        assert os.stat(path).st_mode & 0o777 == 0o711


def test_a_run_directory_in_memory_takes_no_hint(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        Places(Config(data=str(tmp_path / "data"), run=memory))
