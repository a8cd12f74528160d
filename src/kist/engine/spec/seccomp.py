"""Which seccomp profile: Docker's default, or a user's own. Resolving it is `linux.seccomp_profile`'s."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from kist.errors import InvalidParameter
from kist.linux import seccomp_profile

Json = dict[str, Any]


@lru_cache(maxsize=64)
def default_for(capabilities: tuple[str, ...], machine: str, kernel: str) -> Json:
    """The default profile's section; callers must not change it (it is shared). `machine` and `kernel` are
    uname's words."""
    return seccomp_profile.default_profile(list(capabilities), machine, kernel)


def custom(text: str, capabilities: list[str], machine: str, kernel: str) -> Json:
    """A user's profile, in Docker's form or OCI's."""
    try:
        return seccomp_profile.resolve(parse_profile(text), capabilities, machine, kernel)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error!r}") from None


def parse_profile(text: str) -> Json:
    """The profile's JSON; refuses what is no profile."""
    try:
        profile = json.loads(text)
    except ValueError as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error}") from None
    if not isinstance(profile, dict) or not isinstance(profile.get("syscalls") or [], list):
        raise InvalidParameter("Decoding seccomp profile failed: not a profile")
    if "defaultAction" not in profile:
        raise InvalidParameter("Decoding seccomp profile failed: defaultAction is missing")
    if profile.get("archMap") and profile.get("architectures"):
        raise InvalidParameter("both 'architectures' and 'archMap' are specified in the seccomp profile, use "
                               "either 'architectures' or 'archMap'")
    return profile
