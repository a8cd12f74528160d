"""The closed set of Kist's errors.

Every error that may reach a user is one of these. A class owns its HTTP status (Engine API v1.51:
each error answer is ``{"message": …}``), the text is the one that Docker's users know. The server's
one translator (`server/http.py`) is the only place that turns them into answers; the client turns
answers back into the same classes.

No imports: the launcher and the command line's hot path load this module.
"""

from __future__ import annotations


class KistError(Exception):
    """Base of all errors with a meaning for the user; ``status`` is the HTTP status."""

    status = 500

    @property
    def message(self) -> str:
        return str(self)


class InvalidParameter(KistError):
    """The request is malformed or a value is out of range."""

    status = 400


class Unauthorized(KistError):
    """Credentials are missing or wrong."""

    status = 401


class Forbidden(KistError):
    """Not allowed, whoever asks."""

    status = 403


class NotFound(KistError):
    """The named object does not exist."""

    status = 404


class NotModified(KistError):
    """The object is already in the wanted state (no body is sent)."""

    status = 304


class Conflict(KistError):
    """The object's present state or another object forbids the request."""

    status = 409


class NotSupported(KistError):
    """A part of Docker's API that Kist refuses (docs/compatibility.md lists each)."""

    status = 501


class Unavailable(KistError):
    """A resource outside of Kist (registry, disk, kernel part) can't serve now."""

    status = 503


class EngineFailure(KistError):
    """The engine could not do it; the text says which step failed."""

    status = 500


BY_STATUS: dict[int, type[KistError]] = {
    cls.status: cls
    for cls in (InvalidParameter, Unauthorized, Forbidden, NotFound, NotModified, Conflict, NotSupported,
                Unavailable, EngineFailure)
}


def from_status(status: int, message: str) -> KistError:
    """The error for an HTTP answer; unknown statuses become the nearest class of their hundred."""
    if status in BY_STATUS:
        return BY_STATUS[status](message)
    return InvalidParameter(message) if 400 <= status < 500 else EngineFailure(message)
