"""Certificates where Docker's users keep them (moby, registry/registry.go, ReadCertsDirectory), for what the
configuration doesn't name::

    certs.d/HOST[:PORT]/NAME.crt              a CA that is trusted for this registry, besides the system's
    certs.d/HOST[:PORT]/NAME.cert, NAME.key   a client certificate and its key

Looked at for each pull and push: a new file needs no restart.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from kist.errors import EngineFailure
from kist.registry.protocol import api_host
from kist.registry.settings import ClientConfig, RegistrySettings


def completed(config: ClientConfig, host: str) -> ClientConfig:
    """*config* with what its folders have for *host* and its mirrors. Raises EngineFailure for half a pair."""
    hosts = {host, api_host(host), *(urlsplit(url).netloc for url in config.settings(host).mirrors)}
    found = {one: settings for one in hosts
             if (settings := _with(config.settings(one), one, config.certificates)) is not None}
    return replace(config, registries={**config.registries, **found}) if found else config


def _with(settings: RegistrySettings, host: str, folders: Sequence[str]) -> RegistrySettings | None:
    """None if there is nothing to add."""
    if "/" in host or host in ("", ".", ".."):
        return None
    for folder in folders:
        try:
            names = sorted(os.listdir(f"{folder}/{host}"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise EngineFailure(f"can't read {folder}/{host}: {error.strerror}") from None
        return _of(settings, f"{folder}/{host}", names)
    return None


def _of(settings: RegistrySettings, folder: str, names: list[str]) -> RegistrySettings:
    authorities = tuple(f"{folder}/{name}" for name in names if name.endswith(".crt"))
    for name in names:
        stem, _, kind = name.rpartition(".")
        if kind == "cert" and f"{stem}.key" not in names:
            raise EngineFailure(f"missing key {stem}.key for client certificate {name}. CA certificates must use the "
                                "extension .crt")
        if kind == "key" and f"{stem}.cert" not in names:
            raise EngineFailure(f"missing client certificate {stem}.cert for key {name}")
    pair = next((name.removesuffix(".cert") for name in names if name.endswith(".cert")), "")
    if settings.cert or not pair:
        return replace(settings, more_cas=authorities)
    return replace(settings, more_cas=authorities, cert=f"{folder}/{pair}.cert", key=f"{folder}/{pair}.key")
