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
_CACHED = 1032  # the largest piece that malloc(3) keeps aside when it is freed (glibc's tcache)

# So many one after the other near a pool's start: it is a new one. (One alone may be an old pool's free place.)
_RUN = 4

_fillers: list[Any] = []


def fill_holes() -> None:
    """Take the free places of all sizes, for good: what is made next is made in new pools."""
    for size in range(16, 513, 16):
        start = _HEAD + 2 * _RUN * size  # not the first place exactly: this loop's own numbers have places, too
        run = 0
        for _ in range(_MOST):
            filler = _object_of(size)
            _fillers.append(filler)
            run = run + 1 if id(filler) % _POOL < start else 0
            if run == _RUN:
                del _fillers[-_RUN:]
                break


def fill_heap() -> None:
    """The same for what malloc(3) gives (the interpreter asks it for all that is larger, and for locks): what is asked
    for next lies at the heap's end. Does nothing where that can't be known."""
    from kist.linux import heap

    end = heap.end_of_use()
    if end is None:
        return
    for size in (*(1 << power for power in range(16, 10, -1)), *range(_CACHED, 0, -16)):  # from the largest down
        for _ in range(_MOST):
            address = heap.malloc(size)
            if address >= end:
                if size > _CACHED:
                    heap.free(address)  # (a small one would not go back to the end, but be kept for the next)
                break


def _object_of(size: int) -> object:
    if size == 16:
        return object()
    if size == 32:
        return 0x3FFFFFFF + len(_fillers)  # 28 or 32 bytes
    return bytes(size - _BYTES)
