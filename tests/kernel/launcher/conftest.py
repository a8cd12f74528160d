"""Fixtures for containers under a real monitor."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kist.launcher.client import Launcher
from support.monitors import House, make_rootfs


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rootfs(tmp_path_factory.mktemp("rootfs"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    log = tmp_path / "launcher.log"
    said = log.read_text() if log.exists() else ""
    assert said == "", said


@pytest.fixture
async def house(place: Path, rootfs: Path) -> AsyncIterator[House]:
    launcher = await Launcher.spawn(seccomp_cache=str(place), log=str(place / "launcher.log"))
    made = House(place, rootfs, launcher)
    before = set(os.listdir("/proc/self/fd"))
    yield made
    await made.close()
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1
