"""A pytest plugin: containers for a test, gone when it ends (`-p kist.client.pytest_plugin`).

    def test_cache(kist_run):
        redis = kist_run("redis", ports={"6379": None})
        host, port = redis.port(6379)

`--kist-host` names the server: Kist's, or Docker's daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from kist.client import DEFAULT_HOST, Container, Kist, connect


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("kist").addoption("--kist-host", default=DEFAULT_HOST, metavar="ADDRESS",
                                      help=f"server for the containers of tests (default {DEFAULT_HOST})")


@pytest.fixture(scope="session")
def kist_client(pytestconfig: pytest.Config) -> Iterator[Kist]:
    """The server."""
    with connect(pytestconfig.getoption("--kist-host")) as client:
        yield client


@pytest.fixture
def kist_run(kist_client: Kist) -> Iterator[Callable[..., Container]]:
    """`kist_client.run`, with containers that are removed at the test's end."""
    with ExitStack() as made:
        def run(*args: object, **options: object) -> Container:
            return made.enter_context(kist_client.run(*args, **options))  # type: ignore[arg-type]

        yield run
