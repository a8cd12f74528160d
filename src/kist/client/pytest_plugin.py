"""A pytest plugin: containers for a test, gone when it ends. It is there as soon as Kist is installed.

    def test_cache(kist_run):
        redis = kist_run("redis", ports={"6379": None})
        redis.wait_until(lambda c: c.exec("redis-cli ping").exit_code == 0)
        host, port = redis.port(6379)

=====================  ===========================================================================
``kist_run``           `Kist.run`; what it makes is removed at the end of the test
``kist_module_run``    the same, removed at the end of the module's tests
``kist_session_run``   the same, removed at the end of all tests
``kist_client``        the server (`kist.client.Kist`)
=====================  ===========================================================================

`--kist-host` names the server, Kist's or Docker's daemon; else it is the one that the environment means
(`kist.client.connect`). Every container has the label `kist.pytest`, so that what a killed run left is found:
``kist rm -f $(kist ps -aq --filter label=kist.pytest)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kist.client import Container, Kist

    Run = Callable[..., Container]

LABEL = "kist.pytest"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("kist").addoption("--kist-host", default="", metavar="ADDRESS",
                                      help="server for the containers of tests (default: KIST_HOST, DOCKER_HOST, or "
                                           "Kist's own)")


@pytest.fixture(scope="session")
def kist_client(pytestconfig: pytest.Config) -> Iterator[Kist]:
    """The server."""
    from kist.client import connect

    with connect(pytestconfig.getoption("--kist-host")) as client:
        yield client


@contextmanager
def _runner(client: Kist, scope: str) -> Iterator[Run]:
    """`run`, and at the end the removal of all that it made: the last one first, and each though one fails."""
    from contextlib import ExitStack

    with ExitStack() as made:
        def run(image: str, command: Any = None, **options: Any) -> Container:
            options["labels"] = {LABEL: scope, **(options.get("labels") or {})}
            return made.enter_context(client.run(image, command, **options))

        yield run


@pytest.fixture
def kist_run(kist_client: Kist) -> Iterator[Run]:
    """`kist_client.run`, with containers that are removed at the test's end."""
    with _runner(kist_client, "test") as run:
        yield run


@pytest.fixture(scope="module")
def kist_module_run(kist_client: Kist) -> Iterator[Run]:
    """`kist_client.run`, with containers that are removed when the module's tests are done."""
    with _runner(kist_client, "module") as run:
        yield run


@pytest.fixture(scope="session")
def kist_session_run(kist_client: Kist) -> Iterator[Run]:
    """`kist_client.run`, with containers that are removed when all tests are done."""
    with _runner(kist_client, "session") as run:
        yield run
