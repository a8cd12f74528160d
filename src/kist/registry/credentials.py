"""Who we are to a registry: credentials as the API and config.json carry them (pure).

config.json (Docker's)::

    {"auths": {"https://index.docker.io/v1/": {"auth": base64("user:password"), "identitytoken": "…"}}}

X-Registry-Auth (Engine API): base64url of ``{"username", "password", "identitytoken", "registrytoken"}``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kist.errors import InvalidParameter
from kist.registry.protocol import DOCKER_HUB_HOST, DOCKER_HUB_KEY, api_host


@dataclass(frozen=True)
class Credentials:
    """At most one way in is used: a registry token, an identity token, or name and password."""

    username: str = ""
    password: str = ""
    identity_token: str = ""  # OAuth refresh token, exchanged at the token server
    registry_token: str = ""  # sent as it is

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, …)"  # secrets stay out of logs and tracebacks

    def basic(self) -> str:
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


# Gives the credentials for a host ("registry-1.docker.io", "127.0.0.1:5000"), None to ask anonymously.
Lookup = Callable[[str], Credentials | None]


def for_host(host: str, credentials: Credentials | None) -> Lookup:
    """Credentials that are given to one registry only, never to its mirrors or redirect targets."""
    wanted = api_host(host)
    return lambda asked: credentials if asked == wanted and credentials else None


def from_auth_entry(entry: Mapping[str, object]) -> Credentials:
    """Credentials of one entry of config.json's ``auths`` or of a decoded X-Registry-Auth."""
    username, password = _text(entry, "username"), _text(entry, "password")
    packed = _text(entry, "auth")
    if packed:
        try:
            pair = base64.b64decode(packed, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidParameter(f"invalid auth entry in the client's configuration: {error}") from None
        username, colon, password = pair.partition(":")
        if not colon:
            raise InvalidParameter("invalid auth entry in the client's configuration: no colon")
        password = password.rstrip("\0")
    return Credentials(username, password, _text(entry, "identitytoken"), _text(entry, "registrytoken"))


def from_config(config: Mapping[str, object]) -> Lookup:
    """The look-up for a whole config.json document (its ``auths``; helpers are the client's business)."""
    auths = config.get("auths")
    entries = dict(auths) if isinstance(auths, Mapping) else {}

    def lookup(host: str) -> Credentials | None:
        keys = (DOCKER_HUB_KEY, "docker.io", host) if host == DOCKER_HUB_HOST else (host,)
        for key in keys:
            for spelling in (key, f"https://{key}", f"http://{key}", f"https://{key}/v2/", f"https://{key}/"):
                entry = entries.get(spelling)
                if isinstance(entry, Mapping):
                    return from_auth_entry(entry) or None
        return None

    return lookup


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise InvalidParameter(f"invalid credentials: {key} must be a string")
    return value
