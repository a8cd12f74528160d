"""What the Hub knows: repositories, their manifests, tags and blobs (see database.py for the tables).

Each method is one question or one change; those that belong together are put into one transaction by
`content.py` (``with metadata.transaction():``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from kist.hub.database import Database
from kist.oci.digest import Digest


@dataclass(frozen=True)
class Repository:
    id: int
    name: str
    created: float
    updated: float
    private: bool
    immutable: bool
    summary: str
    description: str
    upstream: str | None


@dataclass(frozen=True)
class StoredManifest:
    digest: Digest
    media_type: str
    artifact_type: str | None
    subject: Digest | None
    annotations: dict[str, str]
    content: bytes
    pushed: float


@dataclass(frozen=True)
class Tag:
    name: str
    digest: Digest
    updated: float


class Metadata:
    """Thread-safe; ``clock`` gives seconds since the epoch."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clock = clock

    def transaction(self) -> AbstractContextManager[Any]:
        return self.database.write()

    # --- repositories ---------------------------------------------------------------------------------

    def repository(self, name: str) -> Repository | None:
        row = self.database.one("SELECT * FROM repositories WHERE name = ?", name)
        return _repository(row) if row else None

    def ensure_repository(self, name: str, *, private: bool = False, upstream: str | None = None) -> int:
        """The repository's id; it is made where there is none yet."""
        with self.transaction() as db:
            row = db.execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()
            if row:
                return int(row["id"])
            now = self.clock()
            cursor = db.execute("INSERT INTO repositories (name, created, updated, private, upstream) "
                                "VALUES (?, ?, ?, ?, ?)", (name, now, now, private, upstream))
            return int(cursor.lastrowid)

    def describe(self, name: str, **fields: object) -> None:
        """Set summary, description, private or immutable."""
        assert set(fields) <= {"summary", "description", "private", "immutable"}
        with self.transaction() as db:
            for column, value in fields.items():
                db.execute(f"UPDATE repositories SET {column} = ? WHERE name = ?", (value, name))

    def repositories(self, n: int, last: str = "", where: str = "1", *values: object) -> list[str]:
        """Names of repositories that hold a manifest, in order, after ``last``."""
        rows = self.database.all(
            "SELECT name FROM repositories r WHERE name > ? AND EXISTS "
            f"(SELECT 1 FROM manifests WHERE repository = r.id) AND ({where}) ORDER BY name LIMIT ?",
            last, *values, n)
        return [row["name"] for row in rows]

    def delete_repository(self, name: str) -> bool:
        with self.transaction() as db:
            return bool(db.execute("DELETE FROM repositories WHERE name = ?", (name,)).rowcount)

    # --- blobs ------------------------------------------------------------------------------------------

    def linked_size(self, repository: str, digest: Digest) -> int | None:
        """The size of a blob that the repository has, None where it has none of that digest."""
        row = self.database.one(
            "SELECT b.size FROM links l JOIN repositories r ON r.id = l.repository JOIN blobs b ON "
            "b.digest = l.digest WHERE r.name = ? AND l.digest = ? AND NOT b.doomed", repository, digest)
        return int(row["size"]) if row else None

    def blob_size(self, digest: Digest) -> int | None:
        row = self.database.one("SELECT size FROM blobs WHERE digest = ? AND NOT doomed", digest)
        return int(row["size"]) if row else None

    def add_blob(self, digest: Digest, size: int) -> None:
        with self.transaction() as db:
            db.execute("INSERT INTO blobs (digest, size, created) VALUES (?, ?, ?) "
                       "ON CONFLICT (digest) DO UPDATE SET doomed = 0", (digest, size, self.clock()))

    def link(self, repository: int, digest: Digest) -> None:
        """The repository has the blob; also renews its lease."""
        with self.transaction() as db:
            db.execute("INSERT INTO links (repository, digest, used) VALUES (?, ?, ?) "
                       "ON CONFLICT DO UPDATE SET used = excluded.used", (repository, digest, self.clock()))

    def renew(self, repository: str, digest: Digest, older_than: float) -> None:
        """A push relies on the blob: garbage collection leaves it for a while. Written only if it matters."""
        now = self.clock()
        row = self.database.one("SELECT l.repository, l.used FROM links l JOIN repositories r ON "
                                "r.id = l.repository WHERE r.name = ? AND l.digest = ?", repository, digest)
        if row and now - row["used"] > older_than:
            with self.transaction() as db:
                db.execute("UPDATE links SET used = ? WHERE repository = ? AND digest = ?",
                           (now, row["repository"], digest))

    def unlink(self, repository: str, digest: Digest) -> bool:
        with self.transaction() as db:
            return bool(db.execute(
                "DELETE FROM links WHERE digest = ? AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (digest, repository)).rowcount)

    # --- manifests ----------------------------------------------------------------------------------------

    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None:
        row = self.database.one("SELECT m.* FROM manifests m JOIN repositories r ON r.id = m.repository "
                                "WHERE r.name = ? AND m.digest = ?", repository, digest)
        return _manifest(row) if row else None

    def manifest_of_tag(self, repository: str, tag: str) -> StoredManifest | None:
        row = self.database.one(
            "SELECT m.* FROM tags t JOIN repositories r ON r.id = t.repository JOIN manifests m ON "
            "m.repository = t.repository AND m.digest = t.digest WHERE r.name = ? AND t.name = ?", repository, tag)
        return _manifest(row) if row else None

    def has_manifests(self, repository: str) -> bool:
        return self.database.one("SELECT 1 FROM manifests m JOIN repositories r ON r.id = m.repository "
                                 "WHERE r.name = ? LIMIT 1", repository) is not None

    def put_manifest(self, repository: int, manifest: StoredManifest, children: Iterable[Digest]) -> None:
        with self.transaction() as db:
            db.execute(
                "INSERT INTO manifests (repository, digest, media_type, artifact_type, subject, annotations, "
                "content, pushed) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (repository, manifest.digest, manifest.media_type, manifest.artifact_type, manifest.subject,
                 json.dumps(manifest.annotations) if manifest.annotations else None, manifest.content,
                 manifest.pushed))
            db.executemany("INSERT INTO edges VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                           [(repository, manifest.digest, child) for child in children])
            db.execute("UPDATE repositories SET updated = ? WHERE id = ?", (self.clock(), repository))

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """With its tags."""
        with self.transaction() as db:
            return bool(db.execute(
                "DELETE FROM manifests WHERE digest = ? AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (digest, repository)).rowcount)

    def parents(self, repository: str, digest: Digest) -> list[Digest]:
        """The indexes of the repository that name this manifest."""
        rows = self.database.all("SELECT e.parent FROM edges e JOIN repositories r ON r.id = e.repository "
                                 "WHERE r.name = ? AND e.child = ?", repository, digest)
        return [Digest(row["parent"]) for row in rows]

    def referrers(self, repository: str, subject: Digest, artifact_type: str = "") -> list[StoredManifest]:
        rows = self.database.all(
            "SELECT m.* FROM manifests m JOIN repositories r ON r.id = m.repository WHERE r.name = ? AND "
            "m.subject = ? AND (? = '' OR m.artifact_type = ?) ORDER BY m.pushed, m.digest",
            repository, subject, artifact_type, artifact_type)
        return [_manifest(row) for row in rows]

    # --- tags ---------------------------------------------------------------------------------------------

    def tags(self, repository: str, n: int, last: str = "") -> list[Tag]:
        """In lexical order, after ``last``."""
        rows = self.database.all(
            "SELECT t.* FROM tags t JOIN repositories r ON r.id = t.repository WHERE r.name = ? AND t.name > ? "
            "ORDER BY t.name LIMIT ?", repository, last, n)
        return [Tag(row["name"], Digest(row["digest"]), row["updated"]) for row in rows]

    def tag_updated(self, repository: str, name: str) -> float | None:
        row = self.database.one("SELECT t.updated FROM tags t JOIN repositories r ON r.id = t.repository "
                                "WHERE r.name = ? AND t.name = ?", repository, name)
        return float(row["updated"]) if row else None

    def tag(self, repository: int, name: str, digest: Digest) -> None:
        with self.transaction() as db:
            db.execute("INSERT INTO tags VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                       "digest = excluded.digest, updated = excluded.updated",
                       (repository, name, digest, self.clock()))

    def untag(self, repository: str, name: str) -> bool:
        with self.transaction() as db:
            return bool(db.execute(
                "DELETE FROM tags WHERE name = ? AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (name, repository)).rowcount)

    # --- uploads ------------------------------------------------------------------------------------------

    def begin_upload(self, upload: str, repository: str) -> None:
        with self.transaction() as db:
            db.execute("INSERT INTO uploads VALUES (?, ?, ?)", (upload, repository, self.clock()))

    def upload_repository(self, upload: str) -> str | None:
        row = self.database.one("SELECT name FROM uploads WHERE id = ?", upload)
        return row["name"] if row else None

    def end_upload(self, upload: str) -> None:
        with self.transaction() as db:
            db.execute("DELETE FROM uploads WHERE id = ?", (upload,))

    def uploads_before(self, moment: float) -> list[str]:
        return [row["id"] for row in self.database.all("SELECT id FROM uploads WHERE started < ?", moment)]

    # --- numbers --------------------------------------------------------------------------------------------

    def add_pulls(self, counts: dict[tuple[str, str], int]) -> None:
        """``counts`` by (repository, day as YYYY-MM-DD)."""
        with self.transaction() as db:
            db.executemany(
                "INSERT INTO pulls SELECT id, ?, ? FROM repositories WHERE name = ? "
                "ON CONFLICT DO UPDATE SET count = count + excluded.count",
                [(day, count, name) for (name, day), count in counts.items()])

    def pulls(self, repository: str, since: str) -> dict[str, int]:
        rows = self.database.all("SELECT p.day, p.count FROM pulls p JOIN repositories r ON r.id = p.repository "
                                 "WHERE r.name = ? AND p.day >= ? ORDER BY p.day", repository, since)
        return {row["day"]: row["count"] for row in rows}

    def total_pulls(self, repository: str) -> int:
        row = self.database.one("SELECT coalesce(sum(count), 0) AS n FROM pulls p JOIN repositories r ON "
                                "r.id = p.repository WHERE r.name = ?", repository)
        return int(row["n"]) if row else 0

    def totals(self) -> dict[str, int]:
        """How much there is: for metrics and the front page."""
        row = self.database.one(
            "SELECT (SELECT count(DISTINCT repository) FROM manifests) AS repositories, "
            "(SELECT count(*) FROM manifests) AS manifests, (SELECT count(*) FROM tags) AS tags, "
            "(SELECT count(*) FROM blobs WHERE NOT doomed) AS blobs, "
            "(SELECT coalesce(sum(size), 0) FROM blobs WHERE NOT doomed) AS bytes, "
            "(SELECT count(*) FROM uploads) AS uploads")
        assert row is not None
        return {key: int(row[key]) for key in row.keys()}  # noqa: SIM118 (a Row iterates over its values)


def _repository(row: Any) -> Repository:
    return Repository(row["id"], row["name"], row["created"], row["updated"], bool(row["private"]),
                      bool(row["immutable"]), row["summary"], row["description"], row["upstream"])


def _manifest(row: Any) -> StoredManifest:
    return StoredManifest(
        Digest(row["digest"]), row["media_type"], row["artifact_type"],
        Digest(row["subject"]) if row["subject"] else None,
        json.loads(row["annotations"]) if row["annotations"] else {}, row["content"], row["pushed"])
