"""Leases: work in progress is safe from garbage collection.

Whatever was touched (looked at or written) since the oldest open lease began is kept, referenced or not.
Without it a pull could find a layer in the store, and lose it before the image that needs it is recorded.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager


class Leases:
    """Open leases, and what was touched while any was open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clock = itertools.count(1)
        self._now = 0
        self._open: set[int] = set()
        self._touched: dict[str, int] = {}
        self._spared: dict[str, None] = {}
        self._idle: Callable[[Sequence[str]], object] = lambda _: None

    def when_idle(self, action: Callable[[Sequence[str]], object]) -> None:
        """Call *action* at the end of the last open lease with what `remove` has spared meanwhile, if anything."""
        self._idle = action

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep everything that this thread (or any other) touches from now on."""
        with self._lock:
            begun = self._now = next(self._clock)
            self._open.add(begun)
        try:
            yield
        finally:
            spared: dict[str, None] = {}
            with self._lock:
                self._open.discard(begun)
                if not self._open:
                    self._touched.clear()
                    spared, self._spared = self._spared, spared
            if spared:
                self._idle(list(spared))

    @contextmanager
    def using(self, *digests: str) -> Iterator[None]:
        """Record a use of *digests* within: a collection sees them before, meanwhile or afterwards."""
        with self.lease():
            self.touch(*digests)
            yield
            self.touch(*digests)

    def touch(self, *digests: str) -> None:
        """Note that these are being used. Call it before looking whether they are there."""
        with self._lock:
            if self._open:
                self._now = next(self._clock)
                for digest in digests:
                    self._touched[digest] = self._now

    def defer(self, digests: Iterable[str]) -> None:
        """Let `when_idle`'s action be told of these, as of what `remove` spares."""
        with self._lock:
            self._spared.update(dict.fromkeys(digests))

    def remove(self, digest: str, action: Callable[[], int], *, later: bool = True) -> int | None:
        """Do *action* unless a lease protects *digest*; nobody can touch it meanwhile. None: protected.

        *later*: then `when_idle`'s action is told of it.
        """
        with self._lock:
            oldest = min(self._open, default=None)
            if oldest is not None and self._touched.get(digest, 0) > oldest:
                if later:
                    self._spared[digest] = None
                return None
            return action()
