"""Where new objects go: what a fork writes is a page of its own from then on, so it should write few of them.

The interpreter's small objects live in pools of 16 KiB, one size (16, 32, … 512 bytes) per pool::

    pool   | head (48) | object | object |  free  | object |  free  | …      a free place is taken before a new pool

Each new object goes to a free place somewhere in the launcher's memory: two pages written (its own and the pool's
head) for one object. When all free places are taken before the fork, the new objects stand side by side in new pools.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_POOL = 16 * 1024
_HEAD = 48
_BYTES = 33  # what a bytes object has beside its content
_MOST = 4000  # per size: the end for an allocator that works in another way

_fillers: list[Any] = []


def fill_holes() -> None:
    """Take the free places of all sizes, for good: what is made next is made in new pools."""
    for size in range(16, 513, 16):
        for _ in range(_MOST):
            filler = _object_of(size)
            if id(filler) % _POOL == _HEAD:  # the first of a new pool: there is no free place in the old ones
                break
            _fillers.append(filler)


def _object_of(size: int) -> object:
    if size == 16:
        return object()
    if size == 32:
        return 0x3FFFFFFF + len(_fillers)  # 28 or 32 bytes
    return bytes(size - _BYTES)
