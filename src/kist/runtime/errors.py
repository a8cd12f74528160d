"""What can go wrong between a specification and a running process, with the words for the user."""

from __future__ import annotations

import errno as _errno
import os


class RuntimeFailure(Exception):
    """Base; ``errno`` is 0 where no system call failed."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class SpecError(RuntimeFailure):
    """The specification asks for something impossible or unknown."""


class StepError(RuntimeFailure):
    """A step of the plan failed: ``mount proc on /proc: EPERM``."""


class ExecError(RuntimeFailure):
    """The program of the user can't be executed; ``kind``: "not found", "not executable" or "other"."""

    def __init__(self, message: str, errno: int = 0, kind: str = "other") -> None:
        super().__init__(message, errno)
        self.kind = kind


def error_name(code: int | None) -> str:
    """EPERM for 1."""
    return _errno.errorcode.get(code or 0, f"errno {code}")


def step_error(what: str, error: OSError) -> StepError:
    """The kernel may have said more than the number (new mount interface): keep its words."""
    code = error.errno or 0
    words = error.strerror or ""
    detail = f": {words}" if words and words != os.strerror(code) else ""
    return StepError(f"{what}: {error_name(code)}{detail}", code)
