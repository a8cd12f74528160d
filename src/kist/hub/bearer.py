"""Bearer tokens: what the Hub's token server says and the registry believes (pure).

    base64url(header) . base64url(claims) . base64url(HMAC-SHA256(key, header.claims))      (RFC 7519, HS256)
    claims: {"sub": "alice", "exp": 1767225600, "cap": "WRITE",
             "access": [{"type": "repository", "name": "alice/app", "actions": ["pull", "push"]}]}

The signer and the reader are the same Hub, so one secret key does.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass, field

_HEADER = {"alg": "HS256", "typ": "JWT"}
LONGEST = 32 << 10


@dataclass(frozen=True)
class Claims:
    """``subject`` is empty for anybody; ``access`` is repository → actions."""

    subject: str
    expires: float  # seconds since the epoch
    cap: str = "ADMIN"
    access: dict[str, frozenset[str]] = field(default_factory=dict)


def sign(claims: Claims, key: bytes) -> str:
    access = [{"type": "repository", "name": name, "actions": sorted(actions)}
              for name, actions in sorted(claims.access.items())]
    body = {"sub": claims.subject, "exp": int(claims.expires), "cap": claims.cap, "access": access}
    signed = f"{_encode(json.dumps(_HEADER).encode())}.{_encode(json.dumps(body).encode())}"
    return f"{signed}.{_encode(_mac(signed, key))}"


def read(token: str, key: bytes, now: float) -> Claims | None:
    """The token's claims; None for one that is not ours, broken, or over."""
    if len(token) > LONGEST or token.count(".") != 2 or not token.isascii():
        return None
    signed, _, signature = token.rpartition(".")
    try:
        if not hmac.compare_digest(_decode(signature), _mac(signed, key)):
            return None
        # Signed by us: from here on it is what `sign` wrote.
        if json.loads(_decode(signed.partition(".")[0])) != _HEADER:
            return None
        body = json.loads(_decode(signed.partition(".")[2]))
    except (ValueError, binascii.Error):
        return None
    if body["exp"] < now:
        return None
    access = {entry["name"]: frozenset(entry["actions"]) for entry in body["access"]}
    return Claims(body["sub"], body["exp"], body["cap"], access)


@dataclass(frozen=True)
class Scope:
    """One requested scope, ``repository:NAME:pull,push``."""

    kind: str
    name: str
    actions: frozenset[str]


def parse_scopes(texts: list[str]) -> list[Scope]:
    """All scopes of a request (each value may hold several); what is not one is left out, as the spec has it."""
    scopes = []
    for text in " ".join(texts).split(" ")[:50]:
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind and name and actions:
            scopes.append(Scope(kind, name, frozenset(actions.split(","))))
    return scopes


def _mac(text: str, key: bytes) -> bytes:
    return hmac.digest(key, text.encode("ascii"), "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
