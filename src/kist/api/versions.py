"""API versions in paths: ``/v1.43/containers/json`` (Engine API v1.51, "Versioning")."""

from __future__ import annotations

import re

from kist.errors import InvalidParameter
from kist.version import API_VERSION, MIN_API_VERSION

_PREFIX = re.compile(r"/v(\d{1,4})\.(\d{1,4})(?=/)")

Version = tuple[int, int]


def number(text: str) -> Version:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


NEWEST = number(API_VERSION)
OLDEST = number(MIN_API_VERSION)


def split(path: str) -> tuple[Version, str]:
    """The version a path asks for (the newest if it names none) and the path behind it.

    Raises InvalidParameter, with the words that clients look for, when Kist doesn't speak that version.
    """
    match = _PREFIX.match(path)
    if match is None:
        return NEWEST, path
    asked = int(match[1]), int(match[2])
    name = f"{asked[0]}.{asked[1]}"
    if asked < OLDEST:
        raise InvalidParameter(
            f"client version {name} is too old. Minimum supported API version is {MIN_API_VERSION}, "
            "please upgrade your client to a newer version"
        )
    if asked > NEWEST:
        raise InvalidParameter(
            f"client version {name} is too new. Maximum supported API version is {API_VERSION}"
        )
    return asked, path[match.end():]
