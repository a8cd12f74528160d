"""A server in this process, on a socket of its own, before an engine in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kist.server.listen import Address
from kist.server.serve import Server
from unit.server.fake_engine import FakeEngine
from unit.server.wire import Wire, connected


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    made = FakeEngine()
    yield made
    await made.close()


@pytest.fixture
async def server(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(engine, [Address(path=str(tmp_path / "s"))]) as running:
        yield running


@pytest.fixture
async def wire(server: Server, tmp_path: Path) -> AsyncIterator[Wire]:
    async with connected(str(tmp_path / "s")) as made:
        yield made


@pytest.fixture
async def second(server: Server, tmp_path: Path) -> AsyncIterator[Wire]:
    async with connected(str(tmp_path / "s")) as made:
        yield made
