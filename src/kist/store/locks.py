"""One lock per name, made when it is asked for and gone when nobody holds or awaits it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class KeyLocks:
    """Two threads that want the same thing take turns; the second finds the first one's work done."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold *key*; waits while another thread does."""
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            self._leave(key)

    @contextmanager
    def hold_if_free(self, key: str) -> Iterator[bool]:
        """Hold *key* unless another thread does or waits for it; whether it is held now."""
        with self._guard:
            free = key not in self._locks
            if free:
                lock = threading.Lock()
                lock.acquire()
                self._locks[key] = lock, 1
        try:
            yield free
        finally:
            if free:
                lock.release()
                self._leave(key)

    def _leave(self, key: str) -> None:
        with self._guard:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, users - 1
