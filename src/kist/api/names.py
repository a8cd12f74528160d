"""Names as the API takes them in queries and bodies (pure)."""

from __future__ import annotations

import re

from kist.errors import InvalidParameter

# moby daemon/names: RestrictedNamePattern
PATTERN = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
_CONTAINER = re.compile(PATTERN + "+")
_MAX = 255


def container(name: str) -> str:
    """A container's name without its leading slash; raises InvalidParameter in Docker's words."""
    plain = name.removeprefix("/")
    if len(plain) > _MAX or not _CONTAINER.fullmatch(plain):
        raise InvalidParameter(f"Invalid container name ({name[:_MAX]}), only {PATTERN} are allowed")
    return plain
