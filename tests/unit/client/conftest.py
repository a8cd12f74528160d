from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_engine import FakeEngine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    made = FakeEngine(str(tmp_path / "engine.sock"))
    yield made
    made.close()
