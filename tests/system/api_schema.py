"""Answers of the API held against its published description (Swagger 2.0), where the machine has that.

A small validator of what the description uses: types, properties, allOf, items, maps, enums, formats. Go writes
``null`` for an empty list or map, and so may we. A property that the description doesn't know is a mistake
too, but for the few that Docker itself sends without describing them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).parents[3] / "shared" / "specs" / "engine-api-v1.51.yaml"

# Sent by Docker 28, described nowhere.
UNDESCRIBED = {"MacAddress", "ContainerIDFile", "CheckDuplicate", "KernelMemory", "Capabilities", "ClusterOptions",
               "Healthcheck", "Annotations", "GraphDriver", "CgroupPermissions", "Health", "Attributes",
               "status", "id", "from"}
# What Kist adds: the mirror that an image came from (ImageInspect's Metadata).
ADDED = {"Mirror"}
# Docker 28 itself writes null in these (Go pointers that the description calls plain numbers and booleans).
NULLABLE = {"MemorySwappiness", "OomKillDisable", "ExitCode"}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,),
}


@functools.cache
def description() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(PATH.read_text(), yaml.CSafeLoader)
    return loaded


def response_schema(operation: str, status: int) -> dict[str, Any] | None:
    """The schema of an operation's answer; None if its body is free."""
    for methods in description()["paths"].values():
        for method in methods.values():
            if isinstance(method, dict) and method.get("operationId") == operation:
                found: dict[str, Any] | None = method["responses"][status].get("schema")
                return found
    raise LookupError(operation)


@functools.cache
def responses(operation: str) -> dict[int, dict[str, Any]]:
    """What an operation may answer, by status; nothing for an operation that isn't described."""
    for methods in description()["paths"].values():
        for method in methods.values():
            if isinstance(method, dict) and method.get("operationId") == operation:
                return {int(status): found for status, found in method["responses"].items()}
    return {}


# Docker answers these although they stand at few operations: a parameter that makes no sense; what can't be done.
EVERYWHERE = {400, 501}
# … and these: https://github.com/moby/moby/tree/v28.3.0/daemon (errdefs.Conflict, errdefs.Forbidden of each).
ALSO = {
    "ContainerPause": {409}, "ContainerUnpause": {409}, "ContainerUpdate": {409}, "ContainerRestart": {409},
    "ContainerResize": {409}, "ContainerTop": {409}, "ContainerAttach": {409}, "ContainerAttachWebsocket": {409},
    "ContainerStats": {409}, "ContainerStart": {409}, "ContainerStop": {409}, "ContainerPrune": {409},
    "ExecStart": {101, 500}, "ExecResize": {409}, "NetworkCreate": {409}, "NetworkConnect": {409},
    "NetworkDisconnect": {409}, "VolumeCreate": {409}, "ImageCommit": {409}, "ImageGetAll": {404}, "ImageGet": {404},
    "DistributionInspect": {403, 404}, "PutContainerArchive": {409},
}
# A registry that can't be reached: Docker has 500 (docs/compatibility.md).
for _name in ("SystemAuth", "ImageCreate", "ImageSearch", "DistributionInspect"):
    ALSO[_name] = ALSO.get(_name, set()) | {503}
_EMPTY = (101, 204, 304)
_JSON = "application/json"


def answer_problems(operation: str, status: int, kind: str, content: bytes, *, head: bool = False) -> Iterator[str]:
    """Each way in which an answer isn't as described: its status, its type (`kind`), its body."""
    described = responses(operation)
    if described and status not in described.keys() | EVERYWHERE | ALSO.get(operation, set()):
        yield f"{operation} {status}: no such status"
    if status in _EMPTY or head:
        if content:
            yield f"{operation} {status}: has a body"
    elif status >= 400:
        yield from (f"{operation} {status}: {one}" for one in _error_problems(kind, content))
    elif schema := described.get(status, {}).get("schema"):
        yield from (f"{operation} {status}: {one}" for one in _body_problems(kind, content, schema))


def _error_problems(kind: str, content: bytes) -> Iterator[str]:
    try:
        said = json.loads(content)
    except ValueError:
        yield f"no JSON: {content[:100]!r}"
        return
    if kind != _JSON or not isinstance(said, dict) or said.keys() != {"message"} or not said["message"]:
        yield f"no error's form: {kind} {content[:100]!r}"


def _body_problems(kind: str, content: bytes, schema: dict[str, Any]) -> Iterator[str]:
    """A stream of JSON is one value a line; other bytes are described as "string"."""
    if _whole(schema).get("type") == "string":
        return
    if kind != _JSON:
        yield f"type {kind}"
    for line in content.splitlines():
        yield from problems(json.loads(line), schema)


def problems(value: Any, schema: dict[str, Any], at: str = "$") -> Iterator[str]:
    """Each place where ``value`` isn't what the schema says."""
    schema = _whole(schema)
    kind = schema.get("type")
    if value is None:
        if (kind in ("string", "integer", "number", "boolean") and not schema.get("x-nullable")
                and at.rpartition(".")[2] not in NULLABLE):
            yield f"{at}: null, expected {kind}"
        return
    if kind is not None and (not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool))):
        yield f"{at}: {type(value).__name__}, expected {kind}"
        return
    if "enum" in schema and value not in schema["enum"] and value != "":
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from problems(item, schema.get("items", {}), f"{at}[{number}]")
    elif isinstance(value, dict):
        yield from _object_problems(value, schema, at)


def _object_problems(value: dict[str, Any], schema: dict[str, Any], at: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}.{name}: missing"
    extra = schema.get("additionalProperties")
    for name, item in value.items():
        if name in known:
            yield from problems(item, known[name], f"{at}.{name}")
        elif isinstance(extra, dict):
            yield from problems(item, extra, f"{at}[{name}]")
        elif known and name not in UNDESCRIBED | ADDED:
            yield f"{at}.{name}: not in the description"


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """With references followed and allOf merged."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _whole(description()["definitions"][name])
    if "allOf" not in schema:
        return schema
    merged: dict[str, Any] = {**schema, "properties": dict(schema.get("properties", {}))}
    for part in schema["allOf"]:
        whole = _whole(part)
        merged["properties"].update(whole.get("properties", {}))
        merged["required"] = [*merged.get("required", ()), *whole.get("required", ())]
        merged.setdefault("type", whole.get("type"))
    return merged
