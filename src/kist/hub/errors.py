"""The registry's errors: the codes of distribution-spec 1.1 (#error-codes), each with its status.

    {"errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": {…}}]}
"""

from __future__ import annotations

from collections.abc import Mapping

#: code → (HTTP status, message)
CODES: Mapping[str, tuple[int, str]] = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_INVALID": (400, "blob upload invalid"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (404, "manifest references a manifest or blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown to registry"),
    "NAME_INVALID": (400, "invalid repository name"),
    "NAME_UNKNOWN": (404, "repository name not known to registry"),
    "PAGINATION_NUMBER_INVALID": (400, "invalid number of results requested"),
    "RANGE_INVALID": (416, "invalid content range"),
    "SIZE_INVALID": (400, "provided length did not match content length"),
    "TAG_INVALID": (400, "invalid tag name"),
    "UNAUTHORIZED": (401, "authentication required"),
    "DENIED": (403, "requested access to the resource is denied"),
    "UNSUPPORTED": (405, "the operation is unsupported"),
    "TOOMANYREQUESTS": (429, "too many requests"),
    "UNAVAILABLE": (503, "the registry can't serve this now"),
    "UNKNOWN": (500, "unknown error"),
}


class HubError(Exception):
    """An answer that is an error. ``status`` replaces the code's own one where the spec wants another."""

    def __init__(
        self, code: str, message: str = "", *, status: int = 0, detail: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        usual_status, usual_message = CODES[code]
        self.code = code
        self.message = message or usual_message
        self.status = status or usual_status
        self.detail = detail
        self.headers = dict(headers or {})
        super().__init__(f"{code}: {self.message}")

    @property
    def body(self) -> dict[str, object]:
        entry: dict[str, object] = {"code": self.code, "message": self.message}
        if self.detail is not None:
            entry["detail"] = self.detail
        return {"errors": [entry]}


class BrokenOff(Exception):
    """An answer that has begun can't be finished: breaking the connection is how HTTP says so."""
