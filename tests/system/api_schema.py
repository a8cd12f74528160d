"""Answers of the API held against its published description (Swagger 2.0), where the machine has that.

A small validator of what the description uses: types, properties, allOf, items, maps, enums, formats. Go writes
``null`` for an empty list or map, and so may we. A property that the description doesn't know is a mistake
too, but for the few that Docker itself sends without describing them.
"""

from __future__ import annotations

import functools
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
