"""`idmap`: whose files those of the host are inside of the container. Pure.

::

    idmap                          the owner of what is mounted ⇄ the container's user; all others as they are
    idmap=uids=1000-0-1;gids=…     FILE-SEEN-COUNT, several joined by #: an id on the disk, and what it is inside
    idmap=uids=@1000-0-1;gids=…    the same: SEEN counts in the container's user namespace (crun(1)), the host's here

An idmapped mount (mount_setattr(2), MOUNT_ATTR_IDMAP) translates the owners between the disk and everybody who looks
through it. The disk keeps what it has: a file that is made inside belongs to the host's user outside.

With the plain word nobody writes as the container's user on the host: files of that id on the disk, and the
host owner's id inside, belong to nobody (65534) in there.
"""

from __future__ import annotations

import re
from typing import Any

from kist.errors import InvalidParameter

OWNER = "owner"
_TRIPLE = r"@?\d{1,10}-\d{1,10}-\d{1,10}"
_WORDS = re.compile(rf"(uids|gids)=({_TRIPLE}(?:#{_TRIPLE})*)")
_ALL = (1 << 32) - 1  # user ids; the last one means "none"
MAX_TRIPLES = 340  # user_namespaces(7)

Json = dict[str, Any]
Mappings = list[dict[str, int]]


def check(text: str) -> str:
    """The words as they are; raises InvalidParameter."""
    if text != OWNER:
        _parse(text)
    return text


def _parse(text: str) -> dict[str, Mappings]:
    found: dict[str, Mappings] = {}
    for part in text.split(";"):
        match = _WORDS.fullmatch(part)
        if match is None or match[1] in found:
            raise InvalidParameter(f"invalid idmap: '{text}' (idmap=uids=FILE-SEEN-COUNT#…;gids=FILE-SEEN-COUNT#…)")
        found[match[1]] = [_mapping(*map(int, triple.removeprefix("@").split("-"))) for triple in match[2].split("#")]
    for mappings in found.values():
        _check_ranges(text, mappings)
    if set(found) != {"uids", "gids"}:
        raise InvalidParameter(f"invalid idmap: '{text}': uids and gids go together")
    return found


def _check_ranges(text: str, mappings: Mappings) -> None:
    """What the kernel would refuse without a word: empty, too large, or overlapping."""
    if len(mappings) > MAX_TRIPLES:
        raise InvalidParameter(f"invalid idmap: more than {MAX_TRIPLES} ranges")
    for side in ("containerID", "hostID"):
        end = 0
        for one in sorted(mappings, key=lambda mapping: mapping[side]):
            if not one["size"] or one[side] < end or one[side] + one["size"] > _ALL:
                raise InvalidParameter(f"invalid idmap: '{text}': ranges must not be empty or overlap")
            end = one[side] + one["size"]


def _mapping(file: int, seen: int, count: int) -> dict[str, int]:
    """runtime-spec 1.2, config.md#posix-platform-mounts: from the source's ids to those of the mount."""
    return {"containerID": file, "hostID": seen, "size": count}


def mappings(text: str, *, owner: tuple[int, int], user: tuple[int, int]) -> Json:
    """`uidMappings` and `gidMappings` of the mount; `owner` and `user` are (uid, gid)."""
    if text == OWNER:
        uids, gids = (_swapped(*pair) for pair in zip(owner, user, strict=True))
        return {"uidMappings": uids, "gidMappings": gids}
    found = _parse(text)
    return {"uidMappings": found["uids"], "gidMappings": found["gids"]}


def _swapped(file: int, seen: int) -> Mappings:
    """`file` is seen as `seen`; all ids but these two are themselves."""
    low, high = sorted((file, seen))
    rest = [(0, low), (low + 1, high), (high + 1, _ALL)]
    return [_mapping(file, seen, 1), *(_mapping(begin, begin, end - begin) for begin, end in rest if end > begin)]
