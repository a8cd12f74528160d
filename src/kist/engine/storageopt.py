"""HostConfig.StorageOpt: `size`, the bound of a container's writable layer. Pure.

Words and units are Docker's (moby: overlay2, parseStorageOpt; go-units, RAMInBytes)."""

from __future__ import annotations

from typing import Any

from kist.engine.config import parse_size
from kist.errors import InvalidParameter

Json = dict[str, Any]
LEAST = 4 << 20  # bytes: below it a file system has no room for itself
MOST = 1 << 60


def size(host: Json) -> int:
    """Bytes; 0: no bound. Raises InvalidParameter."""
    found = 0
    for name, value in (host.get("StorageOpt") or {}).items():
        if name.lower() != "size":
            raise InvalidParameter(f"Unknown option {name}")
        found = parse_size(value)
        if found > MOST:
            raise InvalidParameter(f"invalid size: {value!r}")
        if 0 < found < LEAST:
            raise InvalidParameter(f"invalid size: {value!r}: a writable layer has at least {LEAST >> 20}MB")
    return found
