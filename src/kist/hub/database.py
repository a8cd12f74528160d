"""SQLite for the metadata: one connection per thread, WAL, durable commits, schema by version.

Readers never wait; writers queue at ``BEGIN IMMEDIATE``, also those of other processes (the library
builder writes into a data folder while the Hub runs).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Each entry takes the schema one version further; never change one, add one.
MIGRATIONS = (
    """
    CREATE TABLE repositories (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL, updated REAL NOT NULL,
        private INTEGER NOT NULL DEFAULT 0, immutable INTEGER NOT NULL DEFAULT 0,
        summary TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '', upstream TEXT
    );
    CREATE TABLE blobs (
        digest TEXT PRIMARY KEY, size INTEGER NOT NULL, created REAL NOT NULL, doomed INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE links (   -- a repository has a blob; "used" is the last push that relied on it
        repository INTEGER NOT NULL REFERENCES repositories ON DELETE CASCADE,
        digest TEXT NOT NULL, used REAL NOT NULL, PRIMARY KEY (repository, digest)
    ) WITHOUT ROWID;
    CREATE INDEX links_by_digest ON links (digest);
    CREATE TABLE manifests (
        repository INTEGER NOT NULL REFERENCES repositories ON DELETE CASCADE,
        digest TEXT NOT NULL, media_type TEXT NOT NULL, artifact_type TEXT, subject TEXT,
        annotations TEXT, content BLOB NOT NULL, pushed REAL NOT NULL, PRIMARY KEY (repository, digest)
    );
    CREATE INDEX manifests_by_subject ON manifests (repository, subject) WHERE subject IS NOT NULL;
    CREATE TABLE edges (   -- a manifest needs a blob or another manifest
        repository INTEGER NOT NULL, parent TEXT NOT NULL, child TEXT NOT NULL,
        PRIMARY KEY (repository, parent, child),
        FOREIGN KEY (repository, parent) REFERENCES manifests (repository, digest) ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX edges_by_child ON edges (repository, child);
    CREATE TABLE tags (
        repository INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, updated REAL NOT NULL,
        PRIMARY KEY (repository, name),
        FOREIGN KEY (repository, digest) REFERENCES manifests (repository, digest) ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX tags_by_digest ON tags (repository, digest);
    CREATE TABLE uploads (id TEXT PRIMARY KEY, name TEXT NOT NULL, started REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE pulls (
        repository INTEGER NOT NULL REFERENCES repositories ON DELETE CASCADE,
        day TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (repository, day)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE users (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, password TEXT NOT NULL, admin INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL
    );
    CREATE TABLE tokens (   -- personal access tokens; the secret is kept as its SHA-256
        id TEXT PRIMARY KEY, user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, secret TEXT NOT NULL,
        label TEXT NOT NULL, level TEXT NOT NULL, created REAL NOT NULL, used REAL, expires REAL
    ) WITHOUT ROWID;
    CREATE TABLE sessions (   -- of the web pages; by the SHA-256 of the cookie
        id TEXT PRIMARY KEY, user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, expires REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE organisations (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL);
    CREATE TABLE members (
        organisation INTEGER NOT NULL REFERENCES organisations ON DELETE CASCADE,
        user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, level TEXT NOT NULL, PRIMARY KEY (organisation, user)
    ) WITHOUT ROWID;
    CREATE TABLE grants (   -- one repository to one user
        repository TEXT NOT NULL, user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE, level TEXT NOT NULL,
        PRIMARY KEY (repository, user)
    ) WITHOUT ROWID;
    CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE listings (   -- the files of a layer (listings.py), packed; goes with its blob
        digest TEXT PRIMARY KEY REFERENCES blobs ON DELETE CASCADE, files BLOB NOT NULL
    );
    """,
    """
    ALTER TABLE manifests ADD COLUMN used REAL NOT NULL DEFAULT 0;   -- the last push that relied on it
    """,
)


class Database:
    """Transactions over one file."""

    def __init__(self, path: Path, *, migrations: Sequence[str] = MIGRATIONS) -> None:
        self._path = path
        # Password hashes are in it: for the owner alone, whatever the folder's mode (the WAL takes the same).
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._migrate(migrations)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._local.connection = connection
            with self._lock:
                self._all.append(connection)
        return connection

    def _migrate(self, migrations: Sequence[str]) -> None:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > len(migrations):
                raise RuntimeError(f"{self._path} was written by a newer Kist (schema {version})")
            for number in range(version, len(migrations)):
                for statement in _statements(migrations[number]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def all(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._connection().execute(sql, values).fetchall()

    def one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._connection().execute(sql, values).fetchone()
        return row

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: everything in it is there afterwards, or nothing. Joins one that is open already."""
        connection = self._connection()
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def copy_to(self, path: Path) -> None:
        """Write the database as it is now into a file of its own, which appears when it is whole."""
        partial = path.with_name(f"{path.name}.part")
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        copy = sqlite3.connect(partial)
        try:
            self._connection().backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        finally:
            copy.close()
        for stale in ("-wal", "-shm"):  # of the copy that was there before
            path.with_name(path.name + stale).unlink(missing_ok=True)
        partial.replace(path)

    def close(self) -> None:
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()


def _statements(script: str) -> Iterator[str]:
    """The single statements of a script (executescript would commit in between)."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""
