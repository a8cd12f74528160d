"""The comfortable way: containers as objects that are gone when their `with` block ends.

    with connect() as k, k.run("redis") as c:
        c.exec("redis-cli set a 1").check()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from kist.client.client import Client
from kist.client.container import Command, Container, Process, Result, words
from kist.errors import NotFound

JSON = dict[str, Any]


class Options(TypedDict, total=False):
    """The options of `create` and `run`; `Kist.create` tells what each means."""

    name: str
    env: Mapping[str, str] | None
    ports: Mapping[str, int | None] | None
    volumes: Mapping[str, str] | None
    network: str
    labels: Mapping[str, str] | None
    user: str
    workdir: str
    entrypoint: Command | None
    memory: int | None
    pull: str
    body: JSON | None


class Kist(Client):
    """A server. `connect()` makes one."""

    def run(self, image: str, command: Command | None = None, **options: Unpack[Options]) -> Container:
        """Create a container and start it in the background; the image is pulled when it is missing.

        Options are those of `create`. What can't be started leaves nothing behind.
        """
        container = self.create(image, command, **options)
        try:
            container.start()
        except BaseException:
            container.remove()
            raise
        return container

    def create(self, image: str, command: Command | None = None, *, name: str = "",
               env: Mapping[str, str] | None = None, ports: Mapping[str, int | None] | None = None,
               volumes: Mapping[str, str] | None = None, network: str = "",
               labels: Mapping[str, str] | None = None, user: str = "", workdir: str = "",
               entrypoint: Command | None = None, memory: int | None = None, pull: str = "missing",
               body: JSON | None = None) -> Container:
        """Create a container; the image is pulled when it is missing.

        `command`: what it runs instead of the image's own command; text is split as a shell would.
        `ports`: port in the container (`"80"`, `"53/udp"`) → port on 127.0.0.1, None for any that is free.
        `volumes`: path here or volume name → path in the container (`:ro` behind it: read-only).
        `network`: a network's name, "none", "host" or "container:NAME". `memory`: a limit in bytes.
        `pull`: "missing", "always" or "never".
        `body`: whatever else the API's create request knows, laid over the rest (HostConfig field by field).
        Raises NotFound (no such image), Conflict (the name is taken), InvalidParameter.
        """
        host: JSON = {}
        request: JSON = {"Image": image, "HostConfig": host}
        if command is not None:
            request["Cmd"] = words(command)
        if entrypoint is not None:
            request["Entrypoint"] = words(entrypoint)
        for field, text in (("User", user), ("WorkingDir", workdir)):
            if text:
                request[field] = text
        if env:
            request["Env"] = [f"{key}={value}" for key, value in env.items()]
        if labels:
            request["Labels"] = dict(labels)
        if network:
            host["NetworkMode"] = network
        if memory is not None:
            host["Memory"] = memory
        if volumes:
            host["Binds"] = [f"{source}:{target}" for source, target in volumes.items()]
        if ports:
            _publish(request, ports)
        for field, value in (body or {}).items():
            request[field] = {**host, **value} if field == "HostConfig" else value
        return Container(self, self._made(request, name, pull))

    def _made(self, request: JSON, name: str, pull: str) -> str:
        if pull == "always":
            self.pull(request["Image"])
        try:
            return str(self.containers.create(request, name=name)["Id"])
        except NotFound as error:
            if pull != "missing" or "no such image" not in error.message.lower():
                raise
        self.pull(request["Image"])
        return str(self.containers.create(request, name=name)["Id"])

    def pull(self, image: str) -> None:
        """Get an image and wait until it is here."""
        name, tag = image, ""
        if "@" not in image and ":" not in image.rpartition("/")[2]:
            tag = "latest"
        for _ in self.images.pull(name, tag=tag):
            pass

    def get(self, container: str) -> Container:
        """A container that exists, by its name or id; NotFound when it doesn't."""
        return Container(self, str(self.containers.inspect(container)["Id"]))


def _publish(request: JSON, ports: Mapping[str, int | None]) -> None:
    bindings = {}
    for port, place in ports.items():
        inside = port if "/" in port else f"{port}/tcp"
        bindings[inside] = [{"HostIp": "127.0.0.1", "HostPort": "" if place is None else str(place)}]
    request["ExposedPorts"] = {port: {} for port in bindings}
    request["HostConfig"]["PortBindings"] = bindings


__all__ = ["Container", "Kist", "Options", "Process", "Result"]
