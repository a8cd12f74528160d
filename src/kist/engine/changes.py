"""`--change` of commit and import: Dockerfile words that alter an image's configuration. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from kist.api import ports
from kist.engine import times
from kist.errors import InvalidParameter
from kist.oci import image as configs
from kist.oci.image import ImageConfig
from kist.oci.platform import Platform

Json = dict[str, Any]


def apply(config: Json, changes: list[str]) -> Json:
    """The configuration with every change made; raises InvalidParameter."""
    found = dict(config)
    given = {line.split(None, 1)[0].upper() for line in changes if line.strip()}
    if "ENTRYPOINT" in given and "CMD" not in given:  # the old command was the old entry point's
        found.pop("Cmd", None)
    for line in changes:
        word, _, rest = line.strip().partition(" ")
        make = _WORDS.get(word.upper())
        if make is None:
            raise InvalidParameter(f"{word} is not a valid change command")
        make(found, rest.strip())
    return found


def image_document(config: Json, platform: Platform, diff_ids: list[str], history: list[Json], *,
                   author: str = "", comment: str = "") -> bytes:
    """An image configuration as bytes."""
    document: Json = {"architecture": platform.architecture, "os": platform.os,
                      "created": times.rfc3339(times.now()), "config": config,
                      "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history}
    for name, value in (("variant", platform.variant), ("author", author), ("comment", comment)):
        if value:
            document[name] = value
    return json.dumps(document, separators=(",", ":")).encode()


def parse(document: bytes) -> ImageConfig:
    return configs.parse(document)


def _command(text: str, *, shell: list[str]) -> list[str]:
    """The JSON form as it is, anything else through the shell."""
    try:
        words = json.loads(text)
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    except ValueError:
        pass
    return [*shell, text] if text else []


def _pairs(text: str) -> dict[str, str]:
    """`a=1 b="2 3"`, or the old form `a 1 2`."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidParameter(f"{text}: {error}") from None
    if words and "=" not in words[0]:
        name, _, value = text.partition(" ")
        return {name: value.strip()}
    if not words or not all("=" in word for word in words):
        raise InvalidParameter(f"Syntax error - can't find = in \"{text}\". Must be of the form: name=value")
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _env(config: Json, text: str) -> None:
    given = _pairs(text)
    kept = [entry for entry in config.get("Env") or () if entry.partition("=")[0] not in given]
    config["Env"] = kept + [f"{name}={value}" for name, value in given.items()]


def _label(config: Json, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **_pairs(text)}


def _expose(config: Json, text: str) -> None:
    """`80 90-92/udp`"""
    if not text:
        raise InvalidParameter("EXPOSE requires at least one argument")
    found: Json = {}
    for word in text.split():
        numbers, _, protocol = word.partition("/")
        try:
            first, last = ports.span(numbers)
        except ValueError:
            raise InvalidParameter(f"Invalid containerPort: {numbers}") from None
        if (protocol or "tcp").lower() not in ("tcp", "udp", "sctp"):
            raise InvalidParameter(f"Invalid proto: {protocol}")
        found |= {f"{number}/{(protocol or 'tcp').lower()}": {} for number in range(first, last + 1)}
    config["ExposedPorts"] = {**(config.get("ExposedPorts") or {}), **found}


def _volume(config: Json, text: str) -> None:
    paths = _command(text, shell=[]) if text.startswith("[") else text.split()
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in paths}}


def _health(config: Json, text: str) -> None:
    words = text.split(None, 1)
    if words and words[0].upper() == "NONE":
        config["Healthcheck"] = {"Test": ["NONE"]}
    elif len(words) == 2 and words[0].upper() == "CMD":
        exec_form = words[1].startswith("[")
        test = _command(words[1], shell=[])
        config["Healthcheck"] = {"Test": ["CMD" if exec_form else "CMD-SHELL", *test]}
    else:
        raise InvalidParameter(f"unknown type in HEALTHCHECK: {text}")


def _shell(config: Json) -> list[str]:
    return list(config.get("Shell") or ("/bin/sh", "-c"))


def _set(name: str) -> Callable[[Json, str], None]:
    def make(config: Json, text: str) -> None:
        config[name] = text
    return make


def _set_command(name: str) -> Callable[[Json, str], None]:
    def make(config: Json, text: str) -> None:
        config[name] = _command(text, shell=_shell(config))
    return make


def _onbuild(config: Json, text: str) -> None:
    config["OnBuild"] = [*(config.get("OnBuild") or ()), text]


_WORDS: dict[str, Callable[[Json, str], None]] = {
    "CMD": _set_command("Cmd"),
    "ENTRYPOINT": _set_command("Entrypoint"),
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _set("StopSignal"),
    "USER": _set("User"),
    "VOLUME": _volume,
    "WORKDIR": _set("WorkingDir"),
}
