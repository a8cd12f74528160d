"""The words of the distribution protocol, without I/O (distribution-spec 1.1; RFC 9110).

    https://HOST/v2/NAME/manifests/TAG|DIGEST      GET HEAD PUT DELETE
    https://HOST/v2/NAME/blobs/DIGEST              GET HEAD DELETE
    https://HOST/v2/NAME/blobs/uploads/            POST  (?mount=DIGEST&from=NAME, ?digest=DIGEST)
    https://HOST/v2/NAME/tags/list?n=&last=        GET
    https://HOST/v2/NAME/referrers/DIGEST          GET

An error's body is ``{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "…", "detail": …}]}``. It is
turned into Kist's errors with the words that Docker's users know.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote, urlencode

from kist.errors import EngineFailure, Forbidden, InvalidParameter, KistError, NotFound, Unauthorized, Unavailable

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# Schema 1 is asked for last, so that a registry that has nothing else gives it and Kist can say why not.
SCHEMA1_TYPES = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
ACCEPT_MANIFESTS = ", ".join((*MANIFEST_TYPES, "*/*;q=0.1"))

MAX_MANIFEST = 4 << 20  # distribution-spec 1.1: registries need not take more than 4 MiB
MAX_ERROR_BODY = 64 << 10
MAX_LIST_BODY = 8 << 20

DOCKER_HUB = "docker.io"
# The host that serves docker.io, and the key under which config.json keeps its credentials.
DOCKER_HUB_HOST = "registry-1.docker.io"
DOCKER_HUB_KEY = "https://index.docker.io/v1/"


def api_host(host: str) -> str:
    """The host (with port) that serves the API of the registry that references name ``host``."""
    return DOCKER_HUB_HOST if host in (DOCKER_HUB, "index.docker.io") else host


@dataclass(frozen=True)
class Endpoint:
    """One place to ask: a registry itself or a mirror of it. ``base`` has no trailing slash."""

    base: str  # "https://registry-1.docker.io", "http://127.0.0.1:5555/cache"
    mirror: bool = False

    @property
    def origin(self) -> str:
        """scheme://host:port, the unit to which credentials belong."""
        scheme, rest = self.base.split("://", 1)
        return f"{scheme}://{rest.split('/', 1)[0]}"

    @property
    def host(self) -> str:
        return self.origin.split("://", 1)[1]

    @property
    def ping(self) -> str:
        return f"{self.base}/v2/"

    def manifest(self, name: str, reference: str) -> str:
        return f"{self.base}/v2/{name}/manifests/{quote(reference, safe=':')}"

    def blob(self, name: str, digest: str) -> str:
        return f"{self.base}/v2/{name}/blobs/{quote(digest, safe=':')}"

    def uploads(self, name: str, **query: str) -> str:
        pairs = urlencode({key.rstrip("_"): value for key, value in query.items()}, safe=":/")
        return f"{self.base}/v2/{name}/blobs/uploads/" + (f"?{pairs}" if pairs else "")

    def tags(self, name: str, *, n: int = 0, last: str = "") -> str:
        query = {key: value for key, value in (("n", str(n) if n else ""), ("last", last)) if value}
        return f"{self.base}/v2/{name}/tags/list" + (f"?{urlencode(query)}" if query else "")

    def referrers(self, name: str, digest: str, artifact_type: str = "") -> str:
        query = f"?{urlencode({'artifactType': artifact_type})}" if artifact_type else ""
        return f"{self.base}/v2/{name}/referrers/{digest}{query}"


_BASE = re.compile(r"(https?)://([A-Za-z0-9._\-\[\]:]+)(/[A-Za-z0-9._~/\-]*)?", re.ASCII)


def mirror_endpoint(url: str) -> Endpoint:
    """The endpoint of a configured mirror, which always names its scheme."""
    match = _BASE.fullmatch(url.strip())
    if match is None:
        raise InvalidParameter(f'invalid mirror: "{url}" must be http://HOST[:PORT] or https://HOST[:PORT]')
    return Endpoint(url.strip().rstrip("/"), mirror=True)


# --- WWW-Authenticate -------------------------------------------------------------------------------

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SCHEME = re.compile(rf"\s*,*\s*({_TOKEN})(?:\s+|$|(?=,))")
_PARAM = re.compile(rf'\s*,*\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')


@dataclass(frozen=True)
class Challenge:
    """One challenge of a WWW-Authenticate header (RFC 9110, section 11.6.1); the scheme in lower case."""

    scheme: str
    params: dict[str, str] = field(default_factory=dict)


def parse_challenges(header: str) -> list[Challenge]:
    """All challenges of one header's value; what can't be parsed ends the list (nothing is guessed)."""
    challenges: list[Challenge] = []
    at = 0
    while at < len(header):
        match = _SCHEME.match(header, at)
        if match is None or match.end() == at:
            break
        at = match.end()
        params: dict[str, str] = {}
        while (param := _PARAM.match(header, at)) is not None:
            quoted, plain = param.group(2), param.group(3)
            params[param.group(1).lower()] = re.sub(r"\\(.)", r"\1", quoted) if plain is None else plain
            at = param.end()
        challenges.append(Challenge(match.group(1).lower(), params))
    return challenges


# --- ranges and links ---------------------------------------------------------------------------------

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_UPLOAD_RANGE = re.compile(r"(?:bytes=)?(\d{1,19})-(\d{1,19})")
_LINK = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')


def content_range_start(header: str) -> int | None:
    """The first byte's position in a 206 answer's Content-Range, None where the header is unusable."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    return int(match.group(1)) if match else None


def uploaded_bytes(header: str) -> int | None:
    """How many bytes a registry has of an upload, by its ``Range: 0-END`` header (END is inclusive)."""
    match = _UPLOAD_RANGE.fullmatch(header.strip())
    if match is None or match.group(1) != "0":
        return None
    # "0-0" is what registries answer for an empty upload; one byte looks the same, and no one sends one.
    return int(match.group(2)) + 1 if match.group(2) != "0" else 0


def next_link(header: str) -> str | None:
    match = _LINK.search(header)
    return match.group(1) if match else None


# --- errors -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RemoteError:
    """One entry of a registry's error body."""

    code: str
    message: str
    detail: object = None

    def __str__(self) -> str:
        """As Docker prints it: the code in lower case words, then the message."""
        words = self.code.lower().replace("_", " ") if self.code != "TOOMANYREQUESTS" else "toomanyrequests"
        return f"{words}: {self.message or words}"


def parse_errors(body: bytes) -> list[RemoteError]:
    """The entries of an error body; an empty list for anything that is not one."""
    try:
        document = json.loads(body)
        entries = document["errors"] if isinstance(document, dict) else []
    except (ValueError, KeyError, RecursionError):
        return []
    if not isinstance(entries, list):
        return []
    return [
        RemoteError(printable(entry.get("code", "UNKNOWN")), printable(entry.get("message", "")), entry.get("detail"))
        for entry in entries[:16]
        if isinstance(entry, dict)
    ]


def printable(value: object) -> str:
    """One printable line of foreign text, bounded: it ends up on a terminal."""
    text = str(value or "")[:500]
    return "".join(char if char.isprintable() else " " for char in text).strip()


@dataclass(frozen=True)
class Subject:
    """What a request was about, for the error's words. ``name`` as the user writes it (busybox)."""

    name: str
    reference: str = ""  # "busybox:nope", "" where the request was not about a manifest
    action: str = "pull"


class Transient(Unavailable):
    """Asking again later may help. ``wait`` is how many seconds the registry asks for, None where it doesn't say."""

    wait: float | None = None


class RateLimited(Transient):
    """429: too many requests."""


def error_for(status: int, body: bytes, subject: Subject, *, retry_after: str = "") -> KistError:
    """Kist's error for a registry's answer."""
    errors = parse_errors(body)
    first = errors[0] if errors else RemoteError("", "")
    codes = {error.code for error in errors}
    if status == 429 or "TOOMANYREQUESTS" in codes:
        return rate_limited(first.message, retry_after)
    if status == 404 and "NAME_UNKNOWN" not in codes and subject.reference:
        said = str(first) if first.code else "manifest unknown"
        return NotFound(f"manifest for {subject.reference} not found: {said}")
    if status in (401, 403) or (status == 404 and "NAME_UNKNOWN" in codes):
        return _denied(status, first, subject)
    if status == 404:
        return NotFound(str(first) if first.code else f"{subject.name}: not found")
    said = str(first) if first.code else f"received unexpected HTTP status: {status_line(status)}"
    if status in (502, 503, 504):  # distribution-spec 1.1: a temporary condition
        return _waiting(Transient(said), retry_after)
    return Unavailable(said) if status >= 500 else EngineFailure(said)


def _denied(status: int, first: RemoteError, subject: Subject) -> KistError:
    said = str(first) if first.code else "denied: requested access to the resource is denied"
    if subject.action == "list" and status == 404:
        return NotFound(f"repository {subject.name} not found: {said}")
    if subject.action in ("pull", "list"):
        # Registries don't say which of the two it is, and neither may we guess (Docker's sentence).
        return NotFound(
            f"pull access denied for {subject.name}, repository does not exist or may require "
            f"'docker login': {said}"
        )
    return (Unauthorized if status == 401 else Forbidden)(said)


def rate_limited(message: str, retry_after: str) -> KistError:
    text = f"toomanyrequests: {message or 'the registry limits how often it may be asked'}"
    if retry_after.strip().isdigit():
        text += f" (it asks to wait {int(retry_after)} s)"
    words = f"{text}. Signing in raises the limit of most registries; a mirror avoids it."
    return _waiting(RateLimited(words), retry_after)


def _waiting(error: Transient, retry_after: str) -> Transient:
    text = retry_after.strip()
    error.wait = float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
    return error


def status_line(status: int) -> str:
    """``502 Bad Gateway``, as Go writes a status."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
