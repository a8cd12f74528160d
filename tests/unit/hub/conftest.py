from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kist.hub.app import open_hub
from kist.hub.config import HubConfig
from kist.hub.hub import Hub
from unit.hub.served import Client, serving


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """start(**settings) → a client of a Hub of its own, over HTTP."""
    with ExitStack() as stack:
        def begin(**settings: object) -> Client:
            folder = tmp_path / f"hub{len(tuple(tmp_path.glob('hub*')))}"
            config = HubConfig(data=folder, access_log="", **settings)  # type: ignore[arg-type]
            return stack.enter_context(serving(open_hub(config)))
        yield begin


@pytest.fixture
def client(start: Callable[..., Client]) -> Client:
    return start()


@pytest.fixture
def hub(client: Client) -> Hub:
    """The Hub behind ``client``."""
    return client.hub
