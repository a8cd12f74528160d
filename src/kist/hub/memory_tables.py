"""Tables in memory with transactions: what `MemoryMetadata` and `MemoryAccounts` stand on.

Rows are immutable values in dictionaries; a transaction that fails gets back the dictionaries as they were.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Tables:
    """One writer or reader at a time."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self._tables: list[dict[Any, Any]] = []
        self._depth = 0

    def table(self) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        self._tables.append(made)
        return made

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.lock:
            before = [dict(table) for table in self._tables] if not self._depth else []
            self._depth += 1
            try:
                yield
            except BaseException:
                for table, kept in zip(self._tables, before, strict=False):
                    table.clear()
                    table.update(kept)
                raise
            finally:
                self._depth -= 1


def drop(table: dict[Any, Any], *, column: int, value: object) -> None:
    """Remove the rows whose key has ``value`` in ``column``."""
    for key in [key for key in table if key[column] == value]:
        del table[key]
