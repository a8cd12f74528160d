"""`--use-api-socket`: a container that drives the server it runs on, with the user's credentials for registries.

It has the server's socket where Docker's clients look for it, and, when there are credentials, a configuration of
Docker's shape at `PLACE`, which DOCKER_CONFIG names. That file is part of the container: `commit` would keep it.
"""

from __future__ import annotations

from kist.cli.container_body import part, problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session
    from kist.cli.settings import Settings

SOCKET = "/var/run/docker.sock"
PLACE = "/run/secrets/docker"


def prepare(body: dict[str, Any], args: Arguments, settings: Settings) -> bytes:
    """Add the mount and the variable; the configuration, b"" without credentials."""
    address = settings.address()
    if address.scheme != "unix":
        raise problem(args, f"--use-api-socket: {address.text} is not a socket that a container could be given")
    part(body, "HostConfig").setdefault("Mounts", []).append(
        {"Type": "bind", "Source": address.path, "Target": SOCKET, "BindOptions": {}})
    config = _config(settings)
    if config and not any(entry.startswith("DOCKER_CONFIG=") for entry in body.get("Env", ())):
        body.setdefault("Env", []).append(f"DOCKER_CONFIG={PLACE}")
    return config


def hand_over(session: Session, container: str, config: bytes) -> None:
    """Put the configuration into the container, for its owner only."""
    import io
    import tarfile

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(f"{PLACE.lstrip('/')}/config.json")
        entry.size, entry.mode = len(config), 0o600
        tar.addfile(entry, io.BytesIO(config))
    session.client.containers.put_archive(container, "/", [archive.getvalue()])


def _config(settings: Settings) -> bytes:
    import json
    from base64 import b64encode

    from kist.cli.credentials import for_registry, known

    auths: dict[str, dict[str, str]] = {}
    for name in known(settings):
        found = for_registry(settings, name) or {}
        secret = f"{found.get('username', '')}:{found.get('password', '')}"
        if found.get("identitytoken"):
            auths[name] = {"identitytoken": found["identitytoken"]}
        elif secret != ":":
            auths[name] = {"auth": b64encode(secret.encode()).decode()}
    return json.dumps({"auths": auths}, indent=4).encode() if auths else b""
