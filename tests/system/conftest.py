"""Real servers for the system tests: one per worker for most, one of its own for a test that kills it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.hub import Hub, fill
from system.api_http import ask


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of one run share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def library(shared_folder: Path) -> Path:
    """A Hub's data folder with busybox and hello-world, built once in a run of the tests."""
    data = shared_folder / "library"
    with (shared_folder / "library.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fill(data, "hello-world", "busybox")
    return data


@pytest.fixture(scope="session")
def hub(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    running = Hub(library, tmp_path_factory.mktemp("hub") / "hub.log")
    yield running
    running.close()


@pytest.fixture(scope="session")
def _worker_daemon(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("kist"), mirror=hub.url)
    running.ok("pull", "-q", "busybox")
    yield running
    running.close()


@pytest.fixture
def daemon(_worker_daemon: Daemon) -> Iterator[Daemon]:
    """A running server with busybox in its cache and no containers; a test that leaves an image behind fails itself,
    not the next one that counts them."""
    before = _images(_worker_daemon)
    yield _worker_daemon
    _worker_daemon.clean()
    after = _images(_worker_daemon)
    for image in after.keys() - before.keys():
        _worker_daemon.kist("rmi", "-f", image)
    assert after == before, "the test has left images behind, or taken some away"


@pytest.fixture
def server(daemon: Daemon) -> Iterator[Daemon]:
    """The same, without any volume before and after."""
    daemon.clean_volumes()
    yield daemon
    daemon.clean()
    daemon.clean_volumes()


def _images(daemon: Daemon) -> dict[str, list[str]]:
    """By id: their names."""
    return {row["Id"]: row["RepoTags"] for row in ask(daemon, "GET", "/v1.45/images/json?all=1")[1]}


@pytest.fixture
def make_daemon(hub: Hub, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes servers that the test may kill; each is removed at its end."""
    made: list[Daemon] = []

    def make(*, mirror: str | None = hub.url, settings: str = "", options: Sequence[str] = ()) -> Daemon:
        folder = tmp_path / f"daemon{len(made)}"
        folder.mkdir()
        made.append(Daemon(folder, mirror=mirror, settings=settings, options=options))
        return made[-1]

    yield make
    for running in made:
        running.close()
