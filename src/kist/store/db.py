"""The store's records, in one SQLite file (WAL, ``synchronous=FULL``: a commit survives power loss).

    images     one row per image: id (digest of its configuration), which manifest, which layers
    refs       name → image: ``docker.io/library/busybox:latest`` and ``…/busybox@sha256:…``
    layers     one row per unpacked layer: chain id → directory

What isn't here is derived from the files themselves: a content exists if its file does, a snapshot if its
directory does.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kist.errors import EngineFailure
from kist.store.errors import DiskFull, StorageFailure

_VERSION = 2
_SCHEMA = """
CREATE TABLE images (
    id TEXT PRIMARY KEY,            -- digest of the image configuration
    target TEXT NOT NULL,           -- digest of what the registry's name led to: an index or the manifest
    manifest TEXT NOT NULL,         -- digest of the manifest
    manifest_type TEXT NOT NULL,    -- its media type
    chain_id TEXT,                  -- all of its layers; NULL: it has none
    platform TEXT NOT NULL,
    created TEXT NOT NULL,          -- as the configuration has it (RFC 3339), or empty
    size INTEGER NOT NULL,          -- bytes, unpacked
    source TEXT NOT NULL,           -- the registry or mirror that it came from, or empty
    stored REAL NOT NULL,           -- seconds since the epoch
    used REAL NOT NULL
) STRICT;
CREATE TABLE refs (
    name TEXT PRIMARY KEY,
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
) STRICT;
CREATE INDEX refs_by_image ON refs(image);
CREATE TABLE layers (
    chain_id TEXT PRIMARY KEY,
    parent TEXT REFERENCES layers(chain_id),
    diff_id TEXT NOT NULL,
    directory INTEGER NOT NULL UNIQUE,
    size INTEGER NOT NULL,          -- bytes, unpacked
    entries INTEGER NOT NULL,
    stored REAL NOT NULL,
    verity TEXT                     -- fs-verity's digest of an EROFS layer's file; NULL: it isn't sealed
) STRICT;
CREATE INDEX layers_by_parent ON layers(parent);
"""

#: What makes a file of version N one of version N + 1.
_UPGRADES = {1: "ALTER TABLE layers ADD COLUMN verity TEXT;"}


class Database:
    """One connection for all threads, one at a time."""

    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise StorageFailure(f"store database {path}: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock, _errors():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query."""
        with self._lock, _errors():
            found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
            return found

    def run(self, sql: str, *values: Any) -> int:
        """Execute one statement; the number of rows that it changed."""
        with self._lock, _errors():
            return self._connection.execute(sql, values).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements within happen or none; other threads wait."""
        with self._lock, _errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA foreign_keys=ON")
        version = run("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise EngineFailure(f"the store was written by a newer Kist (format {version}, known: {_VERSION})")
        if version == 0:
            self._connection.executescript(f"BEGIN;{_SCHEMA};PRAGMA user_version={_VERSION};COMMIT;")
            return
        for number in range(version, _VERSION):
            self._connection.executescript(f"BEGIN;{_UPGRADES[number]};PRAGMA user_version={number + 1};COMMIT;")

    def broken(self) -> str | None:
        """What SQLite finds wrong with the file; None if it is whole."""
        found = self.row("PRAGMA quick_check")
        return None if found is None or found[0] == "ok" else str(found[0])


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise DiskFull("write store database: no space left on device") from error
        raise StorageFailure(f"store database: {error}") from error
