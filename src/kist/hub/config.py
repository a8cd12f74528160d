"""A Hub's configuration, from a TOML file and options.

    data = "/var/lib/kist/hub"
    listen = "127.0.0.1:5555"
    max-blob = 0              # bytes, 0 is no limit
    upload-life = 86400       # seconds after which an abandoned upload is swept
    gc-grace = 3600           # seconds that what nothing names is kept, for pushes in progress
    gc-untagged = false       # also collect manifests without a tag

    accounts = true           # users, tokens and permissions; else everybody may do everything
    url = "https://hub.example.com"  # as clients see it; else what their requests say
    certificate = "/etc/…"    # TLS, PEM files
    key = "/etc/…"
    proxies = "127.0.0.1"     # whose X-Forwarded-* headers are believed
    private = false           # what new repositories are

    engine = "/run/kist/kist.sock"  # show the map of this engine's networks, to admins or on loopback
    mirror-of = "docker.io"   # pull-through for clients that don't say whose content they mean
    tag-life = 300            # seconds before an upstream is asked again what a tag points at
    cache-max = 0             # bytes of upstreams' content to keep, 0 is no limit
    [upstreams."docker.io"]   # cached as docker.io/…
    username = "me"
    password = "…"            # also: host, insecure, ca, cert, key, mirrors
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType

from kist.errors import InvalidParameter


@dataclass(frozen=True)
class HubConfig:
    """Everything a Hub can be told. Times in seconds, sizes in bytes."""

    data: Path = Path("/var/lib/kist/hub")
    listen: str = "127.0.0.1:5555"
    uds: str = ""
    access_log: str = "-"  # "-" is standard error, "" none, else a file
    max_blob: int = 0
    upload_life: int = 24 * 3600
    sweep_every: int = 3600
    gc_grace: int = 3600
    gc_untagged: bool = False
    accounts: bool = False
    private: bool = False
    url: str = ""
    certificate: str = ""
    key: str = ""
    proxies: str = "127.0.0.1"
    engine: str = ""
    mirror_of: str = ""
    tag_life: int = 300
    cache_max: int = 0
    upstreams: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


_TYPES: Mapping[str, type] = MappingProxyType({
    "int": int, "str": str, "bool": bool, "Path": str, "Mapping[str, Mapping[str, object]]": dict})


def load(path: str | None, **options: object) -> HubConfig:
    """The file's settings, replaced by the ``options`` that are not None."""
    settings: dict[str, object] = {}
    if path is not None:
        try:
            settings = tomllib.loads(Path(path).read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidParameter(f"{path}: {error}") from None
    settings = {key.replace("-", "_"): value for key, value in settings.items()}
    settings |= {key: value for key, value in options.items() if value is not None}
    return replace(HubConfig(), **_checked(settings))  # type: ignore[arg-type]


def _checked(settings: Mapping[str, object]) -> dict[str, object]:
    known = {field.name: str(field.type) for field in fields(HubConfig)}
    checked: dict[str, object] = {}
    for key, value in settings.items():
        if key not in known:
            raise InvalidParameter(f'unknown setting "{key.replace("_", "-")}"')
        wanted = _TYPES[known[key]]
        value = str(value) if isinstance(value, Path) else value
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise InvalidParameter(f'setting "{key.replace("_", "-")}" must be of type {wanted.__name__}')
        if isinstance(value, int) and value < 0:
            raise InvalidParameter(f'setting "{key.replace("_", "-")}" must not be negative')
        checked[key] = Path(str(value)) if known[key] == "Path" else value
    return checked


def split_listen(listen: str) -> tuple[str, int]:
    """("127.0.0.1", 5555) of "127.0.0.1:5555"; brackets around IPv6 addresses."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidParameter(f'invalid listen address "{listen}": must be HOST:PORT')
    return host.strip("[]") or "127.0.0.1", int(port)
