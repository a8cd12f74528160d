"""The bundle's configuration against the specification's own JSON schema, before anything is made.

The schema files (``schema/``, runtime-spec) use a small part of JSON Schema draft 4; that part is here.
"""

from __future__ import annotations

import os

from kist.runtime import jsons
from kist.runtime.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schema")
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
_files: dict[str, Any] = {}


def check(config: Any) -> None:
    """SpecError names the field: ``process.rlimits[0].type: 'x' does not match ^RLIMIT_[A-Z]+$``."""
    _check(config, _load("config-schema.json"), "config-schema.json", "")
    _beyond_the_schema(config)


def _load(name: str) -> Any:
    if name not in _files:
        _files[name] = jsons.load(os.path.join(_HERE, name))
    return _files[name]


def _check(value: Any, schema: dict[str, Any], file: str, path: str) -> None:
    reference = schema.get("$ref")
    if reference is not None:
        name, _, pointer = reference.partition("#")
        file = name or file
        if not os.path.exists(os.path.join(_HERE, file)):
            raise SpecError(f"{path}: this runtime is for Linux")  # solaris, windows, vm, zos, freebsd
        schema = _load(file)
        for key in pointer.strip("/").split("/"):
            schema = schema[key]
        if reference.endswith("/FileMode"):
            schema = {"type": "integer", "minimum": 0}  # Podman gives the type's bits too; only the mode's are used
        _check(value, schema, file, path)
        return
    for part in schema.get("allOf") or []:
        _check(value, part, file, path)
    for part in schema.get("anyOf") or []:
        _check(value, part, file, path)  # the schema has no anyOf of more than one
    _scalar(value, schema, path)
    if isinstance(value, dict):
        _object(value, schema, file, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, schema.get("items") or {}, file, f"{path}[{index}]")
        if len(value) < schema.get("minItems", 0):
            raise SpecError(f"{path}: it needs at least {schema['minItems']} entries")


def _scalar(value: Any, schema: dict[str, Any], path: str) -> None:
    expected = schema.get("type")
    if isinstance(expected, str) and expected in _TYPES:
        wrong = not isinstance(value, _TYPES[expected])  # type: ignore[arg-type]
        if wrong or (isinstance(value, bool) and expected in ("integer", "number")):
            raise SpecError(f"{path or 'configuration'}: {jsons.dumps(value)[:60]} is not of type {expected}")
    if path == "linux.rootfsPropagation" and isinstance(value, str):
        value = value.removeprefix("r")  # rslave and so on, as Docker and Podman write it and runc takes it
    if "enum" in schema and value not in schema["enum"]:
        raise SpecError(f"{path}: {jsons.dumps(value)[:60]} is not one of {', '.join(map(str, schema['enum']))}")
    if isinstance(value, str) and "pattern" in schema and not _matches(schema["pattern"], value):
        raise SpecError(f"{path}: {value[:60]!r} does not match {schema['pattern']}")
    if expected == "integer" and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        raise SpecError(f"{path}: {value} is out of range")


# The schema's patterns by hand: importing regular expressions would cost more than all of the validation.
_UPPER, _LIST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), frozenset("0123456789, -")
_PATTERNS = {
    "^[cbup]$": lambda text: text in ("c", "b", "u", "p"),
    "^RLIMIT_[A-Z]+$": lambda text: text.startswith("RLIMIT_") and len(text) > 7 and _UPPER.issuperset(text[7:]),
    "^[0-9, -]*$": _LIST.issuperset,
}


def _matches(pattern: str, text: str) -> bool:
    by_hand = _PATTERNS.get(pattern)
    if by_hand is not None:
        return by_hand(text)
    import re

    return re.search(pattern, text) is not None


def _object(value: dict[str, Any], schema: dict[str, Any], file: str, path: str) -> None:
    prefix = f"{path}." if path else ""
    for name in schema.get("required") or []:
        if name not in value:
            raise SpecError(f"{prefix}{name}: it is required")
    known = schema.get("properties") or {}
    others = list((schema.get("patternProperties") or {}).values()) or [schema.get("additionalProperties")]
    for name, item in value.items():
        if name in known:
            if item is not None:  # Go's null for an empty slice or map
                _check(item, known[name], file, prefix + name)
        elif isinstance(others[0], dict):
            _check(item, others[0], file, prefix + name)


def _beyond_the_schema(config: dict[str, Any]) -> None:
    """What the specification demands in words."""
    version = config["ociVersion"]
    if not version.startswith("1."):
        raise SpecError(f"ociVersion: {version!r} is not supported, 1.x is")
    if not (config.get("root") or {}).get("path"):
        raise SpecError("root.path: it is required")
    process = config.get("process")
    if process is not None:
        if not process.get("args"):
            raise SpecError("process.args: it must not be empty")
        if not process["cwd"].startswith("/"):
            raise SpecError("process.cwd: it must be an absolute path")
    linux = config.get("linux") or {}
    rdt = linux.get("intelRdt")
    if rdt and not os.path.isdir("/sys/fs/resctrl/info"):
        raise SpecError("linux.intelRdt: resctrl is not mounted on this machine (or the processor has none)")
    if rdt:
        raise SpecError("linux.intelRdt: not supported by this runtime")
    if linux.get("netDevices"):
        raise SpecError("linux.netDevices: not supported by this runtime")
