"""A container's first process, by more than its number: that one may have ended, unknown to us yet, and its number be
another's. Blocking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from kist.engine.container import Container
from kist.errors import Conflict


@contextmanager
def directory(container: Container) -> Iterator[int]:
    """Its directory in /proc, which stays the one process's; only the container's are in its control group."""
    try:
        process = os.open(f"/proc/{container.record.pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if container.id not in _groups(process):
                raise ProcessLookupError
            yield process
        finally:
            os.close(process)
    except (FileNotFoundError, ProcessLookupError):
        raise Conflict(f"container {container.id} is not running") from None


def _groups(process: int) -> str:
    with open(os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process), encoding="utf-8",
              errors="replace") as file:
        return file.read()
