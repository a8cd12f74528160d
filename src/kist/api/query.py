"""Typed query parameters, read as Docker reads them (moby ``api/server/httputils/form.go``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from kist.api import filters
from kist.api.options import Filters
from kist.errors import InvalidParameter

_FALSE = frozenset({"", "0", "no", "false", "none"})
_MAX_FIELDS = 1000
_TIME = re.compile(r"(-?)(\d{1,18})(?:\.(\d{1,9}))?", re.ASCII)


class Query:
    """The decoded query of one request; a name given twice has its first value, ``all`` gives each."""

    __slots__ = ("_first", "_pairs")

    def __init__(self, raw: str) -> None:
        try:
            self._pairs = parse_qsl(raw, keep_blank_values=True, max_num_fields=_MAX_FIELDS) if raw else []
        except ValueError:
            raise InvalidParameter(f"invalid query: more than {_MAX_FIELDS} parameters") from None
        self._first: Mapping[str, str] = dict(reversed(self._pairs))

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def text(self, name: str, default: str = "") -> str:
        value = self._first.get(name, default)
        if "\0" in value:
            raise InvalidParameter(f"invalid value for {name}: a NUL byte")
        return value

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Anything is true but the empty text, 0, no, false and none; ``default`` if it isn't there."""
        value = self._first.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def number(self, name: str, default: int = 0) -> int:
        found = self.number_or_none(name)
        return default if found is None else found

    def number_or_none(self, name: str) -> int | None:
        """An int64, None if the parameter is missing or empty."""
        value = self._first.get(name, "")
        if not value:
            return None
        try:
            if len(value) > 20 or not value.isascii():
                raise ValueError
            number = int(value)
        except ValueError:
            raise InvalidParameter(f'invalid value for {name}: "{value[:64]}" is not a number') from None
        if not -(2**63) <= number < 2**63:
            raise InvalidParameter(f'invalid value for {name}: "{value}" is out of range')
        return number

    def time(self, name: str) -> int | None:
        """Nanoseconds since the epoch from ``seconds[.fraction]``; None if missing, empty or 0. (A float would do for
        neither: today's nanoseconds need 61 bits.)"""
        value = self._first.get(name, "")
        if not value:
            return None
        match = _TIME.fullmatch(value)
        if match is None:
            raise InvalidParameter(f'invalid value for {name}: "{value[:64]}" is not a Unix timestamp')
        nanos = int(match[2]) * 1_000_000_000 + int((match[3] or "").ljust(9, "0"))
        return (-nanos if match[1] else nanos) or None

    def filters(self) -> Filters:
        return filters.parse(self._first.get("filters", ""))
