"""`docker ps --filter`: which containers of a list are shown. Pure but for the look-ups it is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from kist.api import ports
from kist.engine import states, times
from kist.engine.records import ContainerRecord
from kist.engine.views.network import networks, port_list
from kist.engine.views.status import health_word
from kist.errors import InvalidParameter

Filters = Mapping[str, Collection[str]]
Json = dict[str, Any]
_BOOLEANS = {**dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
             **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False)}
NAMES = frozenset({"ancestor", "before", "since", "exited", "expose", "health", "id", "is-task", "isolation",
                   "label", "label!", "name", "network", "publish", "status", "until", "volume"})


def check(filters: Filters, known: frozenset[str] = NAMES) -> None:
    for name in filters:
        if name not in known:
            raise InvalidParameter(f"invalid filter '{name}'")
    for value in filters.get("status", ()):
        if value not in states.ALL:
            raise InvalidParameter(f"invalid filter 'status={value}'")
    for value in filters.get("health", ()):
        if value not in ("starting", "healthy", "unhealthy", "none"):
            raise InvalidParameter(f"unrecognized filter value for health: {value}")
    for value in filters.get("exited", ()):
        if not value.lstrip("-").isdecimal():
            raise InvalidParameter(f"invalid filter 'exited={value}': "
                                   f'strconv.Atoi: parsing "{value}": invalid syntax')


def until(filters: Filters) -> list[int]:
    """What a prune's `until` means, none or one, in ns since 1970."""
    values = list(filters.get("until", ()))
    if len(values) > 1:
        raise InvalidParameter("more than one until filter specified")
    for text in values:
        try:
            if not text:
                raise ValueError
            return [times.parse_until(text)]
        except ValueError:
            raise InvalidParameter(f'failed to parse value as time or duration: "{text}"') from None
    return []


def truth(name: str, values: Collection[str]) -> bool:
    """One value, as Go's strconv.ParseBool has it; absent: False."""
    if not values:
        return False
    found = {_BOOLEANS.get(value) for value in values}
    if len(found) > 1 or None in found:
        raise InvalidParameter(f"invalid filter '{name}=[{' '.join(values)}]'")
    return bool(found.pop())


_Test = Callable[[ContainerRecord, Collection[str]], bool]


def _name(record: ContainerRecord, values: Collection[str]) -> bool:
    return any(search(value, f"/{record.name}") or search(value, record.name) for value in values)


def search(pattern: str, text: str) -> bool:
    """A regular expression, or plain text where it is none."""
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def _label(record: ContainerRecord, values: Collection[str]) -> bool:
    return all(has_label(record.config.get("Labels") or {}, value) for value in values)


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _volume(record: ContainerRecord, values: Collection[str]) -> bool:
    return any(value in (mount.name, mount.source, mount.target) for mount in record.mounts for value in values)


def _network(record: ContainerRecord, values: Collection[str]) -> bool:
    found = networks(record)
    ids = [str(entry["NetworkID"]) for entry in found.values()]
    return any(value in found or any(known and known.startswith(value) for known in ids) for value in values)


def _ports(record: ContainerRecord, values: Collection[str], *, key: str) -> bool:
    have = [(port.get(key), port["Type"]) for port in port_list(record)]
    if key == "PrivatePort":
        have += [(int(port.partition("/")[0]), port.partition("/")[2] or "tcp")
                 for port in record.config.get("ExposedPorts") or {} if port.partition("/")[0].isdecimal()]
    what = "publish" if key == "PublicPort" else "expose"
    for value in values:
        numbers, _, protocol = value.partition("/")
        try:
            first, last = ports.span(numbers)
        except ValueError as error:
            raise InvalidParameter(f"error while looking up for {what} {value}: {error}") from None
        if any(number is not None and first <= number <= last and kind == (protocol or "tcp")
               for number, kind in have):
            return True
    return False


def _truth(name: str, values: Collection[str]) -> bool:
    if sorted(values) in (["true"], ["1"], ["false"], ["0"]):
        return sorted(values) in (["true"], ["1"])
    raise InvalidParameter(f"invalid filter '{name}=[{' '.join(sorted(values))}]'")


_TESTS: dict[str, _Test] = {
    "id": lambda record, values: any(record.id.startswith(value) for value in values),
    "name": _name,
    "label": _label,
    "label!": lambda record, values: not _label(record, values),
    "status": lambda record, values: record.state in values,
    "exited": lambda record, values: record.state == states.EXITED and str(record.exit_code) in values,
    "health": lambda record, values: health_word(record).removeprefix("health: ") in values,
    "volume": _volume,
    "network": _network,
    "publish": lambda record, values: _ports(record, values, key="PublicPort"),
    "expose": lambda record, values: _ports(record, values, key="PrivatePort"),
    "is-task": lambda record, values: not _truth("is-task", values),
}


def select(records: Iterable[ContainerRecord], filters: Filters, *, find: Callable[[str], ContainerRecord],
           image_ids: Callable[[str], Collection[str]]) -> list[ContainerRecord]:
    """The records that pass every filter. `find` raises for an unknown container, `image_ids` answers the ids of
    the images that a name or id (and what is built on it) means."""
    found = list(records)
    for value in filters.get("before", ()):
        bound = find(value).created
        found = [record for record in found if record.created < bound]
    for value in filters.get("since", ()):
        bound = find(value).created
        found = [record for record in found if record.created > bound]
    if filters.get("ancestor"):
        wanted = {known for value in filters["ancestor"] for known in image_ids(value)}
        found = [record for record in found if record.image_id in wanted]
    for name, values in filters.items():
        test = _TESTS.get(name)
        if test is not None and values:
            found = [record for record in found if test(record, values)]
    return found
