"""Images by the real docker command: names, removing by name and by id, what is in the way, filters, prune."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.daemon import Daemon
from system.by_docker import ok, refused


@pytest.fixture
def image(daemon: Daemon) -> Iterator[str]:
    """The id of an image of the test's own, named own:one."""
    ok(daemon, "run", "--name", "seed", "busybox", "touch", "/mark")
    made = ok(daemon, "commit", "-c", "LABEL kind=own", "-c", "CMD [\"echo\", \"own\"]", "seed", "own:one")
    ok(daemon, "rm", "seed")
    yield made
    for container in ok(daemon, "ps", "-aq").split():
        daemon.docker("rm", "-f", container)
    for found in set(ok(daemon, "images", "-q", "--filter", "label=kind=own").split()):
        ok(daemon, "rmi", "-f", found)


def names(daemon: Daemon, *filters: str) -> list[str]:
    options = [word for value in filters for word in ("--filter", value)]
    return sorted(ok(daemon, "images", "--format", "{{.Repository}}:{{.Tag}}", *options).split())


def test_a_name_goes_alone_the_last_one_takes_the_image_along(daemon: Daemon, image: str) -> None:
    ok(daemon, "tag", "own:one", "own:two")
    assert ok(daemon, "rmi", "own:one") == "Untagged: own:one"
    assert ok(daemon, "run", "--rm", "own:two") == "own"
    assert f"Deleted: {image}" in ok(daemon, "rmi", "own:two")
    assert "No such image: own:two" in refused(daemon, "rmi", "own:two")


def test_an_id_with_names_in_several_repositories_needs_force(daemon: Daemon, image: str) -> None:
    ok(daemon, "tag", "own:one", "other:one")
    assert "must be forced" in refused(daemon, "rmi", image)
    ok(daemon, "rmi", "-f", image)
    assert not {"own:one", "other:one"} & set(names(daemon))


def test_containers_are_in_the_way(daemon: Daemon, image: str) -> None:
    ok(daemon, "create", "--name", "user", "own:one")
    assert "must force" in refused(daemon, "rmi", "own:one")
    ok(daemon, "rm", "user")
    ok(daemon, "run", "-d", "--name", "user", "own:one", "sleep", "1000")
    assert "cannot be forced" in refused(daemon, "rmi", "-f", image)


def test_a_container_keeps_its_files_when_the_image_is_gone(daemon: Daemon, image: str) -> None:
    ok(daemon, "create", "--name", "user", "own:one", "cat", "/etc/passwd")
    ok(daemon, "rmi", "-f", "own:one")
    assert "root:" in ok(daemon, "start", "-a", "user")


def test_filters(daemon: Daemon, image: str) -> None:
    ok(daemon, "tag", "own:one", "own:two")
    assert names(daemon, "label=kind=own") == ["own:one", "own:two"]
    assert "own:two" in names(daemon, "reference=own:t*")
    assert "busybox:latest" in names(daemon, "before=own:one")
    assert names(daemon, "since=busybox") == ["own:one", "own:two"]
    assert names(daemon, "dangling=true") == []
    assert "invalid filter" in refused(daemon, "images", "--filter", "colour=red")


def test_inspect_and_history(daemon: Daemon, image: str) -> None:
    found = json.loads(ok(daemon, "image", "inspect", image[:19]))[0]
    assert found["Id"] == image
    assert found["RepoTags"] == ["own:one"]
    assert found["Config"]["Cmd"] == ["echo", "own"]
    assert len(found["RootFS"]["Layers"]) == len(json.loads(ok(daemon, "image", "inspect", "busybox"))[0]["RootFS"][
        "Layers"]) + 1
    rows = ok(daemon, "history", "--no-trunc", "--format", "{{.ID}} {{.CreatedBy}}", "own:one").splitlines()
    assert rows[0] == f"{image} touch /mark"


def test_a_wrong_platform_is_not_this_image(daemon: Daemon, image: str) -> None:
    said = refused(daemon, "run", "--rm", "--pull", "never", "--platform", "linux/arm64", "own:one")
    assert "does not match the specified platform" in said


def test_prune_takes_what_has_no_name(daemon: Daemon, image: str) -> None:
    ok(daemon, "create", "--name", "second", "own:one", "true")
    ok(daemon, "commit", "second", "own:one")  # the first image loses its name
    ok(daemon, "rm", "second")
    assert image[7:19] in ok(daemon, "images", "-q", "--filter", "dangling=true")
    assert f"deleted: {image}" in ok(daemon, "image", "prune", "-f").lower()
    assert ok(daemon, "run", "--rm", "own:one", "echo", "well") == "well"
