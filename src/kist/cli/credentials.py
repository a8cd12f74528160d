"""Credentials for registries: what `login` keeps, else what the user already has for Docker.

Both files have Docker's shape; a helper keeps the secrets where one is named (`credhelper`)::

    {"auths": {"host": {"auth": base64("user:password")} | {"identitytoken": …} | {}},
     "credHelpers": {"host": "NAME"}, "credsStore": "NAME"}

`login` keeps them in Kist's own file, or with the helper that this file or Docker's names: a user who has one
doesn't want secrets in files.
"""

from __future__ import annotations

import os

from kist.cli.names import registry_of
from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from kist.cli.session import Session
    from kist.cli.settings import Settings

DOCKER = "https://index.docker.io/v1/"


def key_of(registry: str) -> str:
    """Under which key a registry's credentials are kept: Docker's has an old address for its name."""
    return DOCKER if registry in ("docker.io", "index.docker.io", "registry-1.docker.io", "") else registry


def host_of(registry: str) -> str:
    """The registry that a user names, without a scheme and a path; Docker's own address as it is."""
    if registry == DOCKER:
        return registry
    return registry.removeprefix("https://").removeprefix("http://").partition("/")[0]


def for_image(session: Session, image: str) -> dict[str, Any] | None:
    """What to send along with a pull or push of an image, None when nothing is known. A helper that fails is
    complained of: the registry may do without."""
    return for_registry(session.settings, registry_of(image), session.warn)


def for_registry(settings: Settings, registry: str,
                 complain: Callable[[str], object] = lambda _: None) -> dict[str, Any] | None:
    """One registry's credentials in the API's shape (*AuthConfig*)."""
    key = key_of(registry)
    for path in (settings.auth_file, settings.docker_auth_file):
        config = load(path)
        if helper := _helper(config, key):
            from kist.cli import credhelper

            try:
                found = credhelper.get(helper, key)
            except credhelper.HelperFailed as error:
                complain(str(error))
                continue
            if found is not None:
                return _told(key, *found)
        entry = _auths(config).get(key)
        if isinstance(entry, dict) and (entry.get("auth") or entry.get("identitytoken")):
            return _decoded(entry, key)
    return None


def known(settings: Settings, complain: Callable[[str], object] = lambda _: None) -> list[str]:
    """Every registry that there are credentials for, by the key that they are kept under: those of the files, and those
    that helpers list."""
    found: set[str] = set()
    for path in (settings.docker_auth_file, settings.auth_file):
        config = load(path)
        own = config.get("credHelpers")
        found |= {*_auths(config), *(own if isinstance(own, dict) else ())}
        if store := config.get("credsStore"):
            from kist.cli import credhelper

            try:
                found.update(credhelper.registries(str(store)))
            except credhelper.HelperFailed as error:
                complain(str(error))
    return sorted(found)


def keep(settings: Settings, registry: str, user: str, password: str, token: str) -> str:
    """Remember credentials; the file that has them in the clear now, "" if a helper has them."""
    key = key_of(registry)
    config = load(settings.auth_file)
    if helper := _helper(config, key) or _helper(load(settings.docker_auth_file), key):
        from kist.cli import credhelper

        try:
            credhelper.store(helper, key, credhelper.TOKEN_USER if token else user, token or password)
        except credhelper.HelperFailed as error:
            raise CliError(f"Error saving credentials: {error}") from None
        entry = {}
    else:
        from binascii import b2a_base64

        auth = b2a_base64(f"{user}:{'' if token else password}".encode(), newline=False).decode()
        entry = {"auth": auth, **({"identitytoken": token} if token else {})}
    _store(settings.auth_file, {**config, "auths": {**_auths(config), key: entry}})
    return "" if helper else settings.auth_file


def forget(settings: Settings, registry: str, complain: Callable[[str], object]) -> None:
    """Drop what `login` kept."""
    key = key_of(registry)
    config = load(settings.auth_file)
    if helper := _helper(config, key) or _helper(load(settings.docker_auth_file), key):
        from kist.cli import credhelper

        try:
            credhelper.erase(helper, key)
        except credhelper.HelperFailed as error:
            complain(f"WARNING: could not erase credentials:\n{key}: {error}")
    if _auths(config).pop(key, None) is not None:
        _store(settings.auth_file, config)


def load(path: str) -> dict[str, Any]:
    """A file's document; an empty one when there is no such file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return {}
    from kist.client import wirejson

    try:
        config = wirejson.loads(data)
    except ValueError:
        config = None
    if not isinstance(config, dict) or not isinstance(config.get("auths") or {}, dict):
        raise CliError(f"{path}: not a file of credentials")
    return config


def _auths(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("auths") or {}


def _helper(config: dict[str, Any], key: str) -> str:
    """The NAME of `docker-credential-NAME`, "" for none."""
    own = config.get("credHelpers")
    named = own.get(key) if isinstance(own, dict) else None
    return str(named or config.get("credsStore") or "")


def _told(key: str, user: str, secret: str) -> dict[str, Any]:
    from kist.cli.credhelper import TOKEN_USER

    if user == TOKEN_USER:
        return {"serveraddress": key, "identitytoken": secret}
    return {"serveraddress": key, "username": user, "password": secret}


def _decoded(entry: dict[str, Any], key: str) -> dict[str, Any]:
    result = {"serveraddress": key}
    if entry.get("identitytoken"):
        result["identitytoken"] = str(entry["identitytoken"])
    if entry.get("auth"):
        from binascii import a2b_base64

        try:
            user, _, password = a2b_base64(entry["auth"]).decode().partition(":")
        except (ValueError, TypeError):
            raise CliError(f"{key}: the credentials are damaged: log in again") from None
        result |= {"username": user, "password": password}
    return result


def _store(path: str, config: dict[str, Any]) -> None:
    """The file is the user's alone."""
    import json

    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    half = f"{path}.{os.getpid()}"
    with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(config, file, indent=4)
        file.write("\n")
    os.replace(half, path)
