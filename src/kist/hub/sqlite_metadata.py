"""The metadata in SQLite (metadata.py says what each method does, database.py has the tables)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from kist.hub.database import Database
from kist.hub.metadata import Found, Metadata, Repository, StoredManifest, Tag
from kist.hub.sqlite_accounts import SqliteAccounts
from kist.oci.digest import Digest


class SqliteMetadata(Metadata):
    """Over one file."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clock = clock
        self.accounts = SqliteAccounts(database)

    def close(self) -> None:
        self.database.close()

    def transaction(self) -> AbstractContextManager[Any]:
        return self.database.write()

    # --- repositories ---------------------------------------------------------------------------------

    def repository(self, name: str) -> Repository | None:
        row = self.database.one("SELECT * FROM repositories WHERE name = ?", name)
        return _repository(row) if row else None

    def ensure_repository(self, name: str, *, private: bool = False, upstream: str | None = None) -> int:
        with self.transaction() as db:
            row = db.execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()
            if row:
                return int(row["id"])
            now = self.clock()
            cursor = db.execute("INSERT INTO repositories (name, created, updated, private, upstream) "
                                "VALUES (?, ?, ?, ?, ?)", (name, now, now, private, upstream))
            return int(cursor.lastrowid)

    def describe(
        self, name: str, *, summary: str | None = None, description: str | None = None, private: bool | None = None,
        immutable: bool | None = None,
    ) -> None:
        with self.transaction() as db:
            db.execute("UPDATE repositories SET summary = coalesce(?, summary), "
                       "description = coalesce(?, description), private = coalesce(?, private), "
                       "immutable = coalesce(?, immutable) WHERE name = ?",
                       (summary, description, private, immutable, name))

    def repositories(self, n: int, last: str = "") -> list[str]:
        rows = self.database.all(
            "SELECT name FROM repositories r WHERE name > ? AND EXISTS "
            "(SELECT 1 FROM manifests WHERE repository = r.id) ORDER BY name LIMIT ?", last, n)
        return [row["name"] for row in rows]

    def search(self, words: Sequence[str], limit: int) -> list[Found]:
        conditions = " AND ".join("(instr(lower(name), ?) OR instr(lower(summary), ?) OR instr(lower(description), ?))"
                                  for _ in words) or "1"
        rows = self.database.all(
            "SELECT r.*, (SELECT coalesce(sum(count), 0) FROM pulls WHERE repository = r.id) AS pulls, "
            "(SELECT count(*) FROM tags WHERE repository = r.id) AS tags FROM repositories r WHERE EXISTS "
            f"(SELECT 1 FROM manifests WHERE repository = r.id) AND {conditions} ORDER BY name LIMIT ?",
            *(word for word in words for _ in range(3)), limit)
        return [Found(row["name"], row["summary"], row["description"], bool(row["private"]), row["updated"],
                      row["pulls"], row["tags"]) for row in rows]

    def cached(self) -> list[tuple[str, int]]:
        rows = self.database.all(
            "SELECT r.name, coalesce((SELECT max(day) FROM pulls WHERE repository = r.id), '') AS last, "
            "(SELECT coalesce(sum(b.size), 0) FROM links l JOIN blobs b ON b.digest = l.digest WHERE "
            "l.repository = r.id) AS size FROM repositories r WHERE upstream IS NOT NULL ORDER BY last, r.updated")
        return [(row["name"], row["size"]) for row in rows]

    def delete_repository(self, name: str) -> bool:
        with self.transaction() as db:
            return bool(db.execute("DELETE FROM repositories WHERE name = ?", (name,)).rowcount)

    # --- blobs ------------------------------------------------------------------------------------------

    def linked_size(self, repository: str, digest: Digest) -> int | None:
        row = self.database.one(
            "SELECT b.size FROM links l JOIN repositories r ON r.id = l.repository JOIN blobs b ON "
            "b.digest = l.digest WHERE r.name = ? AND l.digest = ? AND NOT b.doomed", repository, digest)
        return int(row["size"]) if row else None

    def blob_size(self, digest: Digest) -> int | None:
        row = self.database.one("SELECT size FROM blobs WHERE digest = ? AND NOT doomed", digest)
        return int(row["size"]) if row else None

    def is_open(self, digest: Digest, prefix: str) -> bool:
        return self.database.one(
            "SELECT 1 FROM links l JOIN repositories r ON r.id = l.repository JOIN blobs b ON b.digest = l.digest "
            "WHERE l.digest = ? AND NOT b.doomed AND (substr(r.name, 1, length(?)) = ? "
            "OR (r.upstream IS NULL AND NOT r.private)) LIMIT 1", digest, prefix, prefix) is not None

    def holders(self, digest: Digest, limit: int) -> list[str]:
        rows = self.database.all("SELECT r.name FROM links l JOIN repositories r ON r.id = l.repository "
                                 "WHERE l.digest = ? ORDER BY r.name LIMIT ?", digest, limit)
        return [row["name"] for row in rows]

    def add_blob(self, digest: Digest, size: int) -> None:
        with self.transaction() as db:
            db.execute("INSERT INTO blobs (digest, size, created) VALUES (?, ?, ?) "
                       "ON CONFLICT (digest) DO UPDATE SET doomed = 0", (digest, size, self.clock()))

    def link(self, repository: int, digest: Digest) -> None:
        with self.transaction() as db:
            db.execute("INSERT INTO links (repository, digest, used) VALUES (?, ?, ?) "
                       "ON CONFLICT DO UPDATE SET used = excluded.used", (repository, digest, self.clock()))

    def renew(self, repository: str, digest: Digest, older_than: float) -> None:
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

    def listing(self, digest: Digest) -> bytes | None:
        row = self.database.one("SELECT files FROM listings WHERE digest = ?", digest)
        return row["files"] if row else None

    def keep_listing(self, digest: Digest, packed: bytes) -> None:
        with self.transaction() as db:
            db.execute("INSERT INTO listings SELECT digest, ? FROM blobs WHERE digest = ? ON CONFLICT DO NOTHING",
                       (packed, digest))

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
                "content, pushed) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET used = excluded.pushed",
                (repository, manifest.digest, manifest.media_type, manifest.artifact_type, manifest.subject,
                 json.dumps(manifest.annotations) if manifest.annotations else None, manifest.content,
                 manifest.pushed))
            db.executemany("INSERT INTO edges VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                           [(repository, manifest.digest, child) for child in children])
            db.execute("UPDATE repositories SET updated = ? WHERE id = ?", (self.clock(), repository))

    def renew_manifest(self, repository: str, digest: Digest, older_than: float) -> None:
        now = self.clock()
        row = self.database.one("SELECT m.repository, max(m.pushed, m.used) AS used FROM manifests m JOIN repositories "
                                "r ON r.id = m.repository WHERE r.name = ? AND m.digest = ?", repository, digest)
        if row and now - row["used"] > older_than:
            with self.transaction() as db:
                db.execute("UPDATE manifests SET used = ? WHERE repository = ? AND digest = ?",
                           (now, row["repository"], digest))

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        with self.transaction() as db:
            return bool(db.execute(
                "DELETE FROM manifests WHERE digest = ? AND repository = (SELECT id FROM repositories WHERE name = ?)",
                (digest, repository)).rowcount)

    def parents(self, repository: str, digest: Digest) -> list[Digest]:
        rows = self.database.all("SELECT e.parent FROM edges e JOIN repositories r ON r.id = e.repository "
                                 "WHERE r.name = ? AND e.child = ?", repository, digest)
        return [Digest(row["parent"]) for row in rows]

    def referrers(self, repository: str, subject: Digest, artifact_type: str = "") -> Iterator[StoredManifest]:
        rows = self.database.all(
            "SELECT m.digest FROM manifests m JOIN repositories r ON r.id = m.repository WHERE r.name = ? AND "
            "m.subject = ? AND (? = '' OR m.artifact_type = ?) ORDER BY m.pushed, m.digest",
            repository, subject, artifact_type, artifact_type)
        for row in rows:
            found = self.manifest(repository, Digest(row["digest"]))
            if found is not None:  # else it has just been deleted
                yield found

    # --- tags ---------------------------------------------------------------------------------------------

    def tags(self, repository: str, n: int, last: str = "") -> list[Tag]:
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
        row = self.database.one(
            "SELECT (SELECT count(DISTINCT repository) FROM manifests) AS repositories, "
            "(SELECT count(*) FROM manifests) AS manifests, (SELECT count(*) FROM tags) AS tags, "
            "(SELECT count(*) FROM blobs WHERE NOT doomed) AS blobs, "
            "(SELECT coalesce(sum(size), 0) FROM blobs WHERE NOT doomed) AS bytes, "
            "(SELECT count(*) FROM uploads) AS uploads")
        assert row is not None
        return {key: int(row[key]) for key in row.keys()}  # noqa: SIM118 (a Row iterates over its values)

    # --- garbage ------------------------------------------------------------------------------------------

    def drop_untagged(self, limit: float) -> int:
        with self.transaction() as db:
            return int(db.execute(
                "DELETE FROM manifests AS m WHERE max(pushed, used) < ? "
                "AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository = m.repository AND t.digest = m.digest) "
                "AND NOT EXISTS (SELECT 1 FROM edges e WHERE e.repository = m.repository AND e.child = m.digest) "
                "AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository = m.repository AND s.digest = m.subject)",
                (limit,)).rowcount)

    def drop_links(self, limit: float) -> int:
        with self.transaction() as db:
            return int(db.execute(
                "DELETE FROM links AS l WHERE used < ? AND NOT EXISTS "
                "(SELECT 1 FROM edges e WHERE e.repository = l.repository AND e.child = l.digest)", (limit,)).rowcount)

    def doom(self) -> list[Digest]:
        with self.transaction() as db:
            db.execute("UPDATE blobs SET doomed = 1 WHERE NOT EXISTS "
                       "(SELECT 1 FROM links l WHERE l.digest = blobs.digest)")
        return [Digest(row["digest"]) for row in self.database.all("SELECT digest FROM blobs WHERE doomed")]

    def doomed_size(self, digest: Digest) -> int | None:
        row = self.database.one("SELECT size FROM blobs WHERE digest = ? AND doomed", digest)
        return int(row["size"]) if row else None

    def forget_blob(self, digest: Digest) -> None:
        with self.transaction() as db:
            db.execute("DELETE FROM blobs WHERE digest = ?", (digest,))

    def knows_blob(self, digest: Digest) -> bool:
        return self.database.one("SELECT 1 FROM blobs WHERE digest = ?", digest) is not None


def _repository(row: Any) -> Repository:
    return Repository(row["id"], row["name"], row["created"], row["updated"], bool(row["private"]),
                      bool(row["immutable"]), row["summary"], row["description"], row["upstream"])


def _manifest(row: Any) -> StoredManifest:
    return StoredManifest(
        Digest(row["digest"]), row["media_type"], row["artifact_type"],
        Digest(row["subject"]) if row["subject"] else None,
        json.loads(row["annotations"]) if row["annotations"] else {}, row["content"], row["pushed"])
