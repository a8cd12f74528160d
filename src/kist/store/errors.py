"""What can go wrong in the store, in words for the user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from kist.errors import Conflict, EngineFailure, InvalidParameter, NotFound, Unavailable
from kist.store.tarformat import show


class InvalidLayer(InvalidParameter):
    """A layer that is broken or hostile: names the entry and the reason."""

    def __init__(self, reason: str, entry: bytes = b"") -> None:
        super().__init__(f"invalid layer: {show(entry)}: {reason}" if entry else f"invalid layer: {reason}")


class InvalidArchive(InvalidParameter):
    """What was to be loaded is neither of Docker's nor of OCI's layout, or is broken."""


class DigestMismatch(EngineFailure):
    """The bytes are not what their name says."""


class DiskFull(Unavailable):
    """The file system or quota under the store is full."""


class StorageFailure(EngineFailure):
    """The disk or its file system failed."""


class NoSuchContent(NotFound):
    """The store doesn't hold that digest, layer or snapshot."""


class StoreInUse(Conflict):
    """Another server has this store open."""


_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn an OSError within into `DiskFull` or `StorageFailure`: ``write /x: no space left on device``."""
    try:
        yield
    except OSError as error:
        raise storage_error(what, error) from error


def storage_error(what: str, error: OSError) -> DiskFull | StorageFailure:
    """The error for *error* that came up while doing *what*."""
    if error.errno in _FULL:
        return DiskFull(f"{what}: no space left on device")
    words = (error.strerror or str(error)).lower()
    return StorageFailure(f"{what}: {words}")
