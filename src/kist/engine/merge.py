"""A create request and its image → the container's Config (moby: runconfig.Merge and what surrounds it). Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from kist.api import bodies
from kist.errors import InvalidParameter
from kist.oci.image import RunConfig

Json = dict[str, Any]
# What Docker's inspect leaves out while it is empty.
_OMIT_EMPTY = ("ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout", "Shell", "NetworkDisabled",
               "MacAddress", "ArgsEscaped")
_CONFIG_FIELDS = bodies.ContainerConfig.__struct_fields__


def merge(body: bodies.ContainerConfig, image: RunConfig) -> Json:
    """The Config as inspect shows it: the user's words, the image's where the user said nothing."""
    config = {name: value for name, value in msgspec.to_builtins(body).items() if name in _CONFIG_FIELDS}
    config["User"] = config["User"] or image.user or ""
    config["WorkingDir"] = config["WorkingDir"] or image.working_dir or ""
    config["StopSignal"] = config["StopSignal"] or image.stop_signal or ""
    config["Env"] = _merge_env(config["Env"] or [], image.env or [])
    config["Labels"] = {**(image.labels or {}), **(config["Labels"] or {})}
    config["ExposedPorts"] = {**(image.exposed_ports or {}), **(config["ExposedPorts"] or {})}
    config["Volumes"] = {**(image.volumes or {}), **(config["Volumes"] or {})} or None
    config["Shell"] = config["Shell"] or image.shell
    if config["StopTimeout"] is None:
        config["StopTimeout"] = image.stop_timeout
    config["Healthcheck"] = _merge_health(config["Healthcheck"], image)
    _merge_command(config, image)
    _check(config)
    return {name: value for name, value in config.items() if value or name not in _OMIT_EMPTY}


def command(config: Json) -> tuple[str, list[str]]:
    """The program and its arguments."""
    words = [*(config["Entrypoint"] or ()), *(config["Cmd"] or ())]
    if not words:
        raise InvalidParameter("no command specified")
    return words[0], words[1:]


def _merge_command(config: Json, image: RunConfig) -> None:
    """A command of the user replaces the image's; an entrypoint of the user drops the image's command too.
    ``[""]`` is how clients say "no entrypoint"."""
    if not config["Entrypoint"]:
        if not config["Cmd"]:
            config["Cmd"] = list(image.cmd) if image.cmd else config["Cmd"]
        if config["Entrypoint"] is None:
            config["Entrypoint"] = list(image.entrypoint) if image.entrypoint else None
    if config["Entrypoint"] == [""]:
        config["Entrypoint"] = None


def _merge_env(mine: list[str], of_image: list[str]) -> list[str]:
    names = {entry.partition("=")[0] for entry in mine}
    return mine + [entry for entry in of_image if entry.partition("=")[0] not in names]


def _merge_health(mine: Json | None, image: RunConfig) -> Json | None:
    theirs = msgspec.to_builtins(image.healthcheck) if image.healthcheck else None
    if mine is None:
        return theirs
    merged = {**(theirs or {}), **{name: value for name, value in mine.items() if value}}
    return merged or None


def _check(config: Json) -> None:
    for entry in config["Env"]:
        if not entry.partition("=")[0] or "\0" in entry:
            raise InvalidParameter(f"invalid environment variable: {entry}")
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise InvalidParameter(f"the working directory '{config['WorkingDir']}' is invalid, "
                               "it needs to be an absolute path")
    if len(config["Hostname"]) > 64 or not config["Hostname"].isprintable():
        raise InvalidParameter(f"invalid hostname: {config['Hostname']}")
    for word in [*(config["Entrypoint"] or ()), *(config["Cmd"] or ())]:
        if "\0" in word:
            raise InvalidParameter("invalid command: a NUL byte in an argument")
