"""Legacy links (`--link NAME:ALIAS`) on the default network: lines in /etc/hosts and variables, as Docker makes them.

On user networks a link is one more name for another container, for this one alone: the resolver's part
(network/dns/zones.py), nothing of it is here.

A record keeps its links as `<container id>:<alias>`, so that a rename does no harm; `inspect` shows
`/db:/web/alias`. What the variables are called is moby's daemon/links (v28).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kist.engine.container import Container, Register
from kist.engine.records import ContainerRecord
from kist.engine.spec.namespaces import joined
from kist.errors import Conflict, EngineFailure, InvalidParameter, NotFound

Json = dict[str, Any]
_UNDEFINED = "conflicting options: {} can't be used with links. This would result in undefined behavior"
_OF_IMAGES = ("HOME", "PATH")  # variables of the other container that aren't told


class Linked(NamedTuple):
    """A running container that is linked to, as its neighbour is told of it."""

    alias: str
    addresses: list[str]
    names: str  # what it is called in /etc/hosts
    variables: list[str]


def parse(text: str) -> tuple[str, str]:
    """`name:alias` or `name` as (name, alias); the form that inspect shows, `/name:/parent/alias`, is good, too."""
    name, colon, alias = text.partition(":")
    if not name or ":" in alias or (colon and not alias):
        raise InvalidParameter(f"bad format for links: {text}" if text else "empty string specified for links")
    return name.removeprefix("/"), alias.rpartition("/")[2] or name.rpartition("/")[2]


def resolve(host: Json, register: Register) -> list[str] | None:
    """A create request's HostConfig.Links as the record keeps them."""
    given = host["Links"] or ()
    mode = host["NetworkMode"]
    if given and mode == "host":
        raise InvalidParameter(_UNDEFINED.format("host type networking"))
    if given and joined(mode) is not None:
        raise InvalidParameter(_UNDEFINED.format("container type network"))
    found = []
    for name, alias in map(parse, given):
        if mode not in ("bridge", "none"):
            continue  # clients say it twice for user networks: there the endpoint's Links count
        try:
            child = register.get(name)
        except NotFound as error:  # 404 would tell clients to pull the image
            raise InvalidParameter(f"could not get container for {name}: {error.message}") from None
        if child.record.host["NetworkMode"] == "host":
            raise InvalidParameter(_UNDEFINED.format("host type networking"))
        found.append(f"{child.id}:{alias}")
    return found or None


def _of(record: ContainerRecord) -> Iterator[tuple[str, str]]:
    """(the other's id, alias) of each link."""
    return ((identity, alias) for identity, _, alias in (one.partition(":") for one in record.host["Links"] or ()))


def shown(record: ContainerRecord, register: Register) -> list[str] | None:
    """HostConfig.Links as inspect has them."""
    return [f"/{_name(identity, register)}:/{record.name}/{alias}" for identity, alias in _of(record)] or None


def _name(identity: str, register: Register) -> str:
    child = register.by_id.get(identity)
    return child.name if child is not None else identity[:12]


def names(register: Register) -> dict[str, list[str]]:
    """The further names of all containers: `/web/alias` is one of db's."""
    found: dict[str, list[str]] = {}
    for parent in register.linking.values():
        for identity, alias in _of(parent.record):
            found.setdefault(identity, []).append(f"/{parent.name}/{alias}")
    return found


def exposed(record: ContainerRecord, register: Register) -> dict[str, list[str]]:
    """The ids of the containers that it is linked to, and what they expose: open to it where the default network keeps
    containers apart."""
    children = [register.by_id.get(identity) for identity, _ in _of(record)]
    return {child.id: list(child.record.config.get("ExposedPorts") or ()) for child in children if child is not None}


def needed(record: ContainerRecord) -> set[str]:
    """The ids of the containers that must run before this one starts."""
    return {identity for identity, _ in _of(record)}


def linked(record: ContainerRecord, register: Register) -> list[Linked]:
    """What a container that is about to start is told of the others; each of them must run."""
    found = []
    for identity, alias in _of(record):
        child = register.by_id.get(identity)
        if child is None or not child.alive:
            raise EngineFailure(f"Cannot link to a non running container: /{_name(identity, register)} AS "
                                f"/{record.name}/{alias}")
        addresses = _addresses(child)
        if not addresses:
            raise EngineFailure(f"Cannot link to /{child.name}, as it does not belong to the default network")
        found.append(Linked(alias, addresses, _names(alias, child),
                            _variables(record.name, alias, addresses[0], child.record.config)))
    return found


def variables(record: ContainerRecord, register: Register) -> list[str]:
    """For an exec; none once what it is linked to has ended."""
    try:
        return [variable for one in linked(record, register) for variable in one.variables]
    except EngineFailure:
        return []


def _addresses(child: Container) -> list[str]:
    places = child.endpoint.attachments if child.endpoint is not None else []
    return [address for one in places if one.network_name == "bridge" for address in (one.ip, one.ip6) if address]


def _names(alias: str, child: Container) -> str:
    words = [alias, child.record.config["Hostname"], *([child.name] if child.name != alias else [])]
    return " ".join(words)


def moved(child: Container, register: Register) -> list[tuple[Container, str, list[str]]]:
    """A container has started: (who runs and is linked to it, the names it has there, its addresses now)."""
    return [(parent, _names(alias, child), _addresses(child)) for parent in register.linking.values() if parent.alive
            for identity, alias in _of(parent.record) if identity == child.id]


def renewed(hosts: str, called: str, addresses: Sequence[str]) -> str:
    """/etc/hosts with other addresses for the one that is `called` so; lines of the container's own stay."""
    for address in addresses:
        kind = r"[0-9.]+" if "." in address else r"[0-9a-f]*:[0-9a-f:]+"
        hosts = re.sub(rf"(?m)^{kind}(?=\t{re.escape(called)}$)", address, hosts)
    return hosts


# -- variables --------------------------------------------------------------------------------------------------


def _variables(parent: str, alias: str, address: str, config: Json) -> list[str]:
    prefix = alias.upper().replace("-", "_")
    ports = _ports(config)
    found = [f"{prefix}_NAME=/{parent}/{alias}"]
    if ports:
        found.append(f"{prefix}_PORT={ports[0][0]}://{address}:{ports[0][1]}")
    for proto, first, last in _runs(ports):
        of_run, ends = f"{prefix}_PORT_{first}_{proto.upper()}", (("START", first), ("END", last))
        found += [f"{of_run}_{word}={proto}://{address}:{port}" for word, port in ends]
        found += [f"{of_run}_PORT_{word}={port}" for word, port in ends]
    for proto, port in ports:
        one = f"{prefix}_PORT_{port}_{proto.upper()}"
        found += [f"{one}={proto}://{address}:{port}", f"{one}_ADDR={address}", f"{one}_PORT={port}",
                  f"{one}_PROTO={proto}"]
    for entry in config.get("Env") or ():
        name, equals, value = entry.partition("=")
        if equals and name not in _OF_IMAGES:
            found.append(f"{prefix}_ENV_{name}={value}")
    return found


def _ports(config: Json) -> list[tuple[str, int]]:
    """(protocol, port) of each exposed one, TCP first."""
    found = [(proto or "tcp", int(port)) for port, _, proto in
             (name.partition("/") for name in config.get("ExposedPorts") or ()) if port.isdecimal()]
    return sorted(found, key=lambda one: (one[0] != "tcp", one))


def _runs(ports: Sequence[tuple[str, int]]) -> Iterator[tuple[str, int, int]]:
    """Three and more ports in a row."""
    start = 0
    for at, (proto, port) in enumerate(ports):
        if at + 1 == len(ports) or ports[at + 1] != (proto, port + 1):
            if at - start > 1:
                yield proto, ports[start][1], port
            start = at + 1


# -- changes ----------------------------------------------------------------------------------------------------


def unlink(name: str, register: Register) -> tuple[Container, list[str] | None]:
    """`rm --link web/alias`: the container web, and its links without that one."""
    parent_name, slash, alias = name.strip("/").partition("/")
    if not slash:
        register.get(name)
        raise Conflict("Conflict, cannot remove the default link name of the container")
    parent = register.find(parent_name)
    if parent is None:
        raise NotFound(f"Cannot get parent /{parent_name} for name /{name.strip('/')}")
    left = [one for one in parent.record.host["Links"] or () if one.partition(":")[2] != alias]
    if len(left) == len(parent.record.host["Links"] or ()):
        raise NotFound(f"no link /{name.strip('/')}")
    return parent, left or None
