"""What a pull from docker.io that fails says besides: where the machine's own Hub has, or can make, the image."""

from __future__ import annotations

import pytest

from kist.engine.config import Config
from kist.engine.pull import hint
from kist.oci.reference import parse

HUB = "http://127.0.0.1:5555"


@pytest.mark.parametrize("name", ["redis", "redis:7", "docker.io/library/redis"])
def test_an_image_of_the_library(name: str) -> None:
    with_hub = hint(parse(name), Config(hub_url=HUB))
    assert f"the Hub at {HUB} shows which images it has" in with_hub
    assert "`kist hub library build redis` makes it" in with_hub
    assert "mirror" not in with_hub  # it has one: who is told of a Hub has configured it
    assert "`kist hub` serves it, and a mirror" in hint(parse(name), Config())


@pytest.mark.parametrize("name", ["rediss", "me/redis"])
def test_any_other_image_of_docker_io(name: str) -> None:
    assert hint(parse(name), Config(hub_url=HUB)) == f"\nThe Hub at {HUB} shows which images it has"
    assert hint(parse(name), Config()) == ""


def test_other_registries_are_not_the_hubs_business() -> None:
    assert hint(parse("registry.example/redis"), Config(hub_url=HUB)) == ""
