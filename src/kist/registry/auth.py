"""Answers a registry's challenge: a bearer token from its token server, or Basic.

    registry  → 401  WWW-Authenticate: Bearer realm="https://auth/token",service="s",scope="repository:n:pull"
    client    → GET  https://auth/token?service=s&scope=repository:n:pull   (Basic, where we have credentials)
    server    → {"token": "…", "expires_in": 300}
    client    → the request again, Authorization: Bearer …

(distribution: token authentication; OAuth 2 refresh tokens where we were given an identity token.)
Tokens are kept per origin and scope, and fetched once however many threads need them. Nothing here
opens a connection: fetching is the caller's function.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from kist.errors import EngineFailure, KistError, Unauthorized
from kist.registry.credentials import Credentials, Lookup
from kist.registry.protocol import Challenge, Endpoint, parse_challenges

MAX_TOKEN_BODY = 256 << 10
SHORTEST_LIFE = 60.0  # distribution: a token without expires_in lives 60 s

# (method, url, headers, body) → the answer's body; raises KistError for anything but 200.
Fetch = Callable[[str, str, dict[str, str], bytes | None], bytes]


@dataclass
class _Grant:
    header: str
    until: float  # time.monotonic()


@dataclass
class Authenticator:
    """Keeps what each (origin, scope) is to be told in the Authorization header."""

    lookup: Lookup
    fetch: Fetch
    clock: Callable[[], float] = time.monotonic
    _grants: dict[tuple[str, str], _Grant] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def header(self, endpoint: Endpoint, scope: str) -> str | None:
        """What to send now, None to send nothing (the registry may not ask for anything)."""
        grant = self._grants.get((endpoint.origin, scope))
        return grant.header if grant is not None and self.clock() < grant.until else None

    def answer(self, endpoint: Endpoint, scope: str, challenge_header: str, rejected: str | None) -> str:
        """The header that answers a 401. ``rejected`` is the one that was sent with the request.

        Raises Unauthorized where there is no way in.
        """
        with self._lock:
            held = self.header(endpoint, scope)
            if held is not None and held != rejected:
                return held  # another thread has just fetched it
            grant = self._negotiate(endpoint, scope, parse_challenges(challenge_header), rejected)
            self._grants[(endpoint.origin, scope)] = grant
            return grant.header

    def _negotiate(
        self, endpoint: Endpoint, scope: str, challenges: list[Challenge], rejected: str | None
    ) -> _Grant:
        credentials = self.lookup(endpoint.host) or Credentials()
        for challenge in challenges:
            if challenge.scheme == "bearer":
                return self._bearer(endpoint, scope, challenge, credentials)
            if challenge.scheme == "basic":
                if not credentials.username:
                    raise Unauthorized("no basic auth credentials")
                if rejected is not None and rejected == credentials.basic():
                    raise Unauthorized("unauthorized: incorrect username or password")
                return _Grant(credentials.basic(), float("inf"))
        raise Unauthorized(f"unauthorized: {endpoint.host} offers no way of signing in that Kist knows")

    def _bearer(self, endpoint: Endpoint, scope: str, challenge: Challenge, credentials: Credentials) -> _Grant:
        if credentials.registry_token:
            return _Grant(f"Bearer {credentials.registry_token}", float("inf"))
        realm = checked_realm(endpoint, challenge.params.get("realm", ""))
        # The registry's own words win: it may ask for more than we thought (a mount needs two scopes).
        scopes = [part for part in (challenge.params.get("scope") or scope).split(" ") if part]
        scopes += [part for part in scope.split(" ") if part and part not in scopes]
        request = token_request(realm, challenge.params.get("service", ""), scopes, credentials)
        return parse_token(self.fetch(*request), self.clock())


def checked_realm(endpoint: Endpoint, realm: str) -> str:
    """The realm's URL; a registry behind TLS must not send our password over plain HTTP."""
    parts = urlsplit(realm)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.username:
        raise EngineFailure(f'invalid realm of the token server of {endpoint.host}: "{realm[:200]}"')
    if parts.scheme == "http" and endpoint.base.startswith("https://"):
        raise EngineFailure(f"{endpoint.host} names a token server without TLS: {realm[:200]}")
    return realm


def token_request(
    realm: str, service: str, scopes: list[str], credentials: Credentials
) -> tuple[str, str, dict[str, str], bytes | None]:
    """The request (method, url, headers, body) that fetches a token."""
    pairs = [("service", service)] if service else []
    if credentials.identity_token:
        form = [*pairs, ("client_id", "kist"), ("grant_type", "refresh_token")]
        form += [("scope", " ".join(scopes)), ("refresh_token", credentials.identity_token)]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return "POST", realm, headers, urlencode(form).encode("ascii")
    pairs += [("scope", scope) for scope in scopes] + [("client_id", "kist")]
    url = realm + ("&" if "?" in realm else "?") + urlencode(pairs, safe=":/,")
    return "GET", url, {"Authorization": credentials.basic()} if credentials.username else {}, None


def parse_token(body: bytes, now: float) -> _Grant:
    try:
        document = json.loads(body)
        token = document.get("token") or document.get("access_token")
        life = document.get("expires_in") or SHORTEST_LIFE
        if not isinstance(token, str) or not isinstance(life, int | float):
            raise ValueError("no token")
    except (ValueError, AttributeError, RecursionError) as error:
        raise EngineFailure(f"the token server's answer makes no sense: {error}") from None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise EngineFailure("the token server's answer makes no sense: the token is not printable")
    # Renewed a little early: a token that ends while a request is on its way only costs a round trip.
    return _Grant(f"Bearer {token}", now + max(float(life) * 0.9, SHORTEST_LIFE * 0.5))


def login_failed(error: KistError) -> KistError:
    """A token server's refusal in Docker's words."""
    if error.status in (401, 403):
        return Unauthorized("unauthorized: incorrect username or password")
    return error
