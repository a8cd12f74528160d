"""What stopped a start or an exec, as a message."""

from __future__ import annotations

import sys

from kist.launcher import protocol
from kist.runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def failure(error: Exception) -> dict[str, Any]:
    """In words; a fault of ours goes to the log as well."""
    if isinstance(error, (RuntimeFailure, OSError, ValueError)):
        return {"error": str(error), "kind": getattr(error, "kind", protocol.OTHER)}
    sys.excepthook(type(error), error, error.__traceback__)
    return {"error": f"{type(error).__name__}: {error}", "kind": protocol.OTHER}
