"""Credentials for registries: what `login` keeps, else what the user already has for Docker.

Both files have one shape: `{"auths": {"host": {"auth": base64("user:password")} | {"identitytoken": …}}}`.
"""

from __future__ import annotations

import os

from kist.cli.names import registry_of
from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.settings import Settings

DOCKER = "https://index.docker.io/v1/"


def key_of(registry: str) -> str:
    """Under which key a registry's credentials are kept: Docker's has an old address for its name."""
    return DOCKER if registry in ("docker.io", "index.docker.io", "") else registry


def for_image(settings: Settings, image: str) -> dict[str, Any] | None:
    """What to send along with a pull or push of an image, None when nothing is known."""
    return for_registry(settings, registry_of(image))


def for_registry(settings: Settings, registry: str) -> dict[str, Any] | None:
    """One registry's credentials in the API's shape (*AuthConfig*)."""
    for path in (settings.auth_file, settings.docker_auth_file):
        entry = load(path).get(key_of(registry))
        if isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")):
            return _decoded(entry, registry)
    return None


def _decoded(entry: dict[str, Any], registry: str) -> dict[str, Any]:
    result = {"serveraddress": key_of(registry)}
    if entry.get("identitytoken"):
        result["identitytoken"] = str(entry["identitytoken"])
    if entry.get("auth"):
        from binascii import a2b_base64

        user, _, password = a2b_base64(entry["auth"]).decode().partition(":")
        result |= {"username": user, "password": password}
    return result


def load(path: str) -> dict[str, Any]:
    """The `auths` of a file; nothing when there is no such file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    from kist.client import wirejson

    try:
        auths = wirejson.loads(data).get("auths", {})
    except (ValueError, AttributeError):
        raise CliError(f"{path}: not a file of credentials") from None
    return dict(auths)


def keep(settings: Settings, registry: str, user: str, password: str, token: str) -> None:
    """Remember credentials; the file is the user's alone."""
    from binascii import b2a_base64

    auth = b2a_base64(f"{user}:{'' if token else password}".encode(), newline=False).decode()
    entry = {"auth": auth, **({"identitytoken": token} if token else {})}
    _store(settings.auth_file, {**load(settings.auth_file), key_of(registry): entry})


def forget(settings: Settings, registry: str) -> bool:
    """Drop what `login` kept; whether there was something."""
    auths = load(settings.auth_file)
    found = auths.pop(key_of(registry), None)
    if found is not None:
        _store(settings.auth_file, auths)
    return found is not None


def _store(path: str, auths: dict[str, Any]) -> None:
    import json

    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    half = f"{path}.{os.getpid()}"
    with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump({"auths": auths}, file, indent=4)
        file.write("\n")
    os.replace(half, path)
