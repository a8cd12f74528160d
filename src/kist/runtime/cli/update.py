"""``update [--resources FILE] [--memory N …] ID``: other limits for a container that runs."""

from __future__ import annotations

import sys

from kist.runtime import jsons
from kist.runtime.cli.common import one
from kist.runtime.cli.options import NUMBER, STRING, Option, Usage, parse
from kist.runtime.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.runtime.cli.log import Log
    from kist.runtime.cli.options import Parsed

# option → (section, field) of linux.resources
NUMBERS = {
    "blkio-weight": ("blockIO", "weight"), "cpu-period": ("cpu", "period"), "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"), "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"), "cpu-share": ("cpu", "shares"), "cpu-idle": ("cpu", "idle"),
    "pids-limit": ("pids", "limit"),
}
TEXTS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
BYTES = {"memory": ("memory", "limit"), "memory-reservation": ("memory", "reservation"),
         "memory-swap": ("memory", "swap")}
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def main(options: Parsed, words: list[str], log: Log) -> int:
    table = {**{name: Option("", NUMBER) for name in NUMBERS},
             **{name: Option("", STRING) for name in (*TEXTS, *BYTES)}, "resources": Option("r", STRING)}
    own = parse(table, words)
    container = one(options, own.rest)
    container.lock()
    container.may("update")
    resources = _resources(own)
    container.cgroup().apply(resources)
    spec = container.spec()
    kept = spec.setdefault("linux", {}).setdefault("resources", {})
    for section, fields in resources.items():
        if isinstance(fields, dict):
            kept[section] = {**(kept.get(section) or {}), **fields}
        else:
            kept[section] = fields
    with open(f"{container.directory}/config.json", "w", encoding="utf-8") as file:
        file.write(jsons.dumps(spec))
    return 0


def _resources(own: Parsed) -> dict[str, Any]:
    if own.string("resources"):
        return _read(own.string("resources"))
    resources: dict[str, Any] = {}
    for name, (section, field) in NUMBERS.items():
        if name in own.given:
            resources.setdefault(section, {})[field] = own.number(name)
    for name, (section, field) in TEXTS.items():
        if name in own.given:
            resources.setdefault(section, {})[field] = own.string(name)
    for name, (section, field) in BYTES.items():
        if name in own.given:
            resources.setdefault(section, {})[field] = size(own.string(name))
    return resources


def _read(path: str) -> dict[str, Any]:
    try:
        if path == "-":
            given: Any = jsons.loads(sys.stdin.read())
        else:
            given = jsons.load(path)
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from None
    if not isinstance(given, dict):
        raise SpecError(f"{path}: not an object")
    given.pop("devices", None)  # rules for devices are those of create
    return given


def size(text: str) -> int:
    """"512m" in bytes; -1 is without limit."""
    if text == "-1":
        return -1
    number = text.lower().removesuffix("ib").removesuffix("b") if not text.isdigit() else text
    unit = number[-1:] if not number[-1:].isdigit() else ""
    digits = number[: len(number) - len(unit)]
    if not digits.isdigit() or unit not in _UNITS:
        raise Usage(f"invalid size {text!r}")
    return int(digits) * _UNITS[unit]
