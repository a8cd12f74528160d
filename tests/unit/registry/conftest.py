from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from unit.registry.hostile import Handler, Server


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], Server]]:
    """serve(handler) → a running server; all are closed at the end."""
    running: list[Server] = []

    def start(handler: Handler) -> Server:
        running.append(Server(handler))
        return running[-1]

    yield start
    for server in running:
        server.close()
