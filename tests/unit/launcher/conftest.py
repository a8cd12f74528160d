"""What a monitor's log writes by: its loop, and its container's streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kist.launcher.loop import Loop
from kist.launcher.streams import Streams


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    loop.open()
    yield loop
    loop.close()


@pytest.fixture
def streams(loop: Loop) -> Streams:
    return Streams(loop, on_detach=lambda: None, on_quiet=lambda: None)
