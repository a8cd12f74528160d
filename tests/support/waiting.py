"""Waiting for what others bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], what: str = "it never came true", *, seconds: float = 40) -> T:
    """What `look` finds as soon as that is something; fails with ``what`` when it isn't in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
    return found
