"""What a test needs from the machine: skipped on a user's laptop, a failure in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def missing(what: str) -> None:
    """The test can't run here: in CI that is a hole in the set-up, and fails."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)


def program(name: str) -> None:
    if shutil.which(name) is None:
        missing(f"{name} is not installed")
