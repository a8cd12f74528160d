"""What a test needs from the machine: skipped on a user's laptop, a failure in CI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from kist.errors import InvalidParameter
from kist.store import erofs
from support.daemon import docker_command


def missing(what: str) -> None:
    """The test can't run here: in CI that is a hole in the set-up, and fails."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)


def program(name: str) -> None:
    if shutil.which(name) is None:
        missing(f"{name} is not installed")


def storage_driver(name: str) -> str:
    """The store's driver *name*, which the kernel can do."""
    if name == "erofs":
        try:
            erofs.check_usable()
        except InvalidParameter as error:
            missing(error.message)
    return name


def _docker_major() -> int:
    """0 if there is none: whoever needs one is told so by `docker_command`."""
    try:
        command = docker_command()
    except AssertionError:
        return 0
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.", said)
    assert found, said
    return int(found[1])


# Debian 12's docker command is version 20: it drives Kist as well, but its own words and options are others.
docker_28 = pytest.mark.skipif(_docker_major() < 28, reason="holds Kist against the words of Docker 28's command")
DOCKER_28 = pytest.param("docker", marks=docker_28)
