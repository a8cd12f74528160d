"""`--cap-add`, `--cap-drop` and `--privileged` → the set of capabilities."""

from __future__ import annotations

from collections.abc import Iterable

from kist.engine.spec.defaults import CAPABILITIES
from kist.errors import InvalidParameter
from kist.linux.capabilities import NAMES as ALL_CAPABILITIES


def normalize(names: Iterable[str] | None, field: str) -> list[str]:
    """`net_admin` → `CAP_NET_ADMIN`; `ALL` stays. Unknown names are refused with the field's name."""
    found = []
    for name in names or ():
        upper = name.strip().upper()
        if upper != "ALL" and not upper.startswith("CAP_"):
            upper = "CAP_" + upper
        if upper == "CAP_ALL":
            upper = "ALL"
        if upper != "ALL" and upper not in ALL_CAPABILITIES:
            raise InvalidParameter(f'invalid {field}: unknown capability: "{upper}"')
        found.append(upper)
    return found


def effective(add: Iterable[str] | None, drop: Iterable[str] | None, *, privileged: bool,
              known: frozenset[str] | None = None) -> list[str]:
    """The capabilities of a container, in the kernel's order. `known`: what this host's kernel has.

    moby's rules: `add ALL` starts from everything, `drop ALL` from nothing; a name in the other list still
    counts; drop wins over a single add.
    """
    adds, drops = set(normalize(add, "CapAdd")), set(normalize(drop, "CapDrop"))
    if privileged or "ALL" in adds:
        wanted = set(ALL_CAPABILITIES) - (set() if privileged else drops)
    elif "ALL" in drops:
        wanted = adds
    else:
        wanted = (set(CAPABILITIES) | adds) - drops
    return [name for name in ALL_CAPABILITIES if name in wanted and (known is None or name in known)]
