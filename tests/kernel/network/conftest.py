"""A network world and Kist's networks in it, for each test (support/network.py)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kist.engine.network import Networks
from kist.linux.namespaces import CLONE_NEWNET, setns, unshare
from support.network import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        with ExitStack() as stack:
            yield World(stack, tmp_path)
    finally:
        setns(home, CLONE_NEWNET)
        os.close(home)


@pytest.fixture
async def make_networks(world: World) -> AsyncIterator[Callable[..., Networks]]:
    """Makes servers' Networks over the world's host; what is still open at the end is closed."""
    made: list[Networks] = []

    def make(**options: Any) -> Networks:
        networks = Networks(data=str(world.tmp_path / "data"), run=str(world.tmp_path / "run"), **options)
        made.append(networks)
        return networks

    yield make
    for networks in made:
        await networks.close(remove=True)


@pytest.fixture
async def networks(make_networks: Callable[..., Networks]) -> Networks:
    made = make_networks()
    await made.open()
    await made.ready()
    return made
