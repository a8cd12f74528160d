"""One server for each file of tests, with the image `box`; no Hub is needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.box import import_box
from support.daemon import Daemon


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("kist"))
    import_box(running)
    yield running
    running.close()


@pytest.fixture
def daemon(machine: Daemon) -> Iterator[Daemon]:
    """The machine's, without containers and networks."""
    yield machine
    machine.clean()
