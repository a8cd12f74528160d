"""The local driver's mounts on the real kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.engine.volumes import driver
from kist.errors import EngineFailure


def test_a_mount_is_taken_off_whole(tmp_path: Path) -> None:
    path = tmp_path / "a b"
    path.mkdir()
    for _ in range(2):
        driver.mount(str(path), "", {"type": "tmpfs", "device": "tmpfs", "o": "size=64k"})
    assert driver.is_mount(str(path))
    driver.unmount(str(path))
    assert not driver.is_mount(str(path))


def test_flags_of_a_bind_come_into_force(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "dst").mkdir()
    driver.mount(str(tmp_path / "dst"), "", {"type": "none", "device": str(tmp_path / "src"), "o": "bind,ro,nosuid"})
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        line = next(line for line in lines if f" {tmp_path}/dst " in line)
        assert line.split()[5].startswith("ro,nosuid") and "shared" not in line
    finally:
        driver.unmount(str(tmp_path / "dst"))


def test_a_kind_that_the_kernel_has_not(tmp_path: Path) -> None:
    with pytest.raises(EngineFailure, match=r"failed to mount local volume: mount x:.*, data: a=b: no such device"):
        driver.mount(str(tmp_path), "", {"type": "nofs", "device": "x", "o": "a=b"})
