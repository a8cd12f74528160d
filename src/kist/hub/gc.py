"""Garbage collection while the Hub runs: blobs that no manifest names, and, if asked for, untagged manifests.

    manifest without tag, parent or subject, older than the grace   → deleted (only with ``untagged``)
    link (a repository has a blob) that no manifest there names,
      and that no push has relied on within the grace              → deleted
    blob without any link                                          → doomed → file removed → row removed
    file without a row, older than the grace                       → removed

A push in progress is never eaten: each HEAD, mount and upload renews the link's lease, and everything that
makes a blob visible happens in a write transaction, as do the two steps that take it away. A kill between
them leaves a doomed row, which counts as absent, and is finished by the next run.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kist.hub.content import Content
from kist.oci.digest import Digest

GRACE = 3600.0  # seconds


@dataclass
class Swept:
    """What a run removed."""

    manifests: int = 0
    links: int = 0
    blobs: int = 0
    bytes: int = 0


def collect(content: Content, *, grace: float = GRACE, untagged: bool = False) -> Swept:
    """One run. Safe beside pushes, pulls and other runs."""
    swept = Swept()
    limit = content.metadata.clock() - grace
    if untagged:
        swept.manifests = _drop_untagged(content, limit)
    swept.links = _drop_links(content, limit)
    _doom(content)
    _remove_doomed(content, swept)
    _remove_strays(content, limit, swept)
    return swept


def evict(content: Content, budget: int) -> list[str]:
    """Forget cached repositories, the least recently pulled first, until the rest fits ``budget`` bytes.

    Their blobs go with the next `collect`. Returns the repositories' names.
    """
    rows = content.metadata.database.all(
        "SELECT r.id, r.name, coalesce((SELECT max(day) FROM pulls WHERE repository = r.id), '') AS last, "
        "(SELECT coalesce(sum(b.size), 0) FROM links l JOIN blobs b ON b.digest = l.digest WHERE l.repository = r.id) "
        "AS size FROM repositories r WHERE upstream IS NOT NULL ORDER BY last, r.updated")
    total = sum(row["size"] for row in rows)
    evicted = []
    for row in rows:
        if total <= budget:
            break
        content.metadata.delete_repository(row["name"])
        evicted.append(row["name"])
        total -= row["size"]
    return evicted


def _drop_untagged(content: Content, limit: float) -> int:
    """Again and again, since what a deleted index named may be free now."""
    total = 0
    while True:
        with content.metadata.transaction() as db:
            count = int(db.execute(
                "DELETE FROM manifests AS m WHERE pushed < ? "
                "AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository = m.repository AND t.digest = m.digest) "
                "AND NOT EXISTS (SELECT 1 FROM edges e WHERE e.repository = m.repository AND e.child = m.digest) "
                "AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository = m.repository AND s.digest = m.subject)",
                (limit,)).rowcount)
        total += count
        if not count:
            return total


def _drop_links(content: Content, limit: float) -> int:
    with content.metadata.transaction() as db:
        return int(db.execute(
            "DELETE FROM links AS l WHERE used < ? AND NOT EXISTS "
            "(SELECT 1 FROM edges e WHERE e.repository = l.repository AND e.child = l.digest)", (limit,)).rowcount)


def _doom(content: Content) -> None:
    with content.metadata.transaction() as db:
        db.execute("UPDATE blobs SET doomed = 1 WHERE NOT EXISTS "
                   "(SELECT 1 FROM links l WHERE l.digest = blobs.digest)")


def _remove_doomed(content: Content, swept: Swept) -> None:
    for row in content.metadata.database.all("SELECT digest FROM blobs WHERE doomed"):
        with content.metadata.transaction() as db:
            # Asked again inside of the transaction: a push may have brought it back.
            still = db.execute("SELECT size FROM blobs WHERE digest = ? AND doomed", (row["digest"],)).fetchone()
            if still is None:
                continue
            content.blobs.delete(Digest(row["digest"]))
            db.execute("DELETE FROM blobs WHERE digest = ?", (row["digest"],))
        swept.blobs += 1
        swept.bytes += still["size"]


def _remove_strays(content: Content, limit: float, swept: Swept) -> None:
    """Files whose row was never committed (a kill between the rename and the commit)."""
    for digest in content.blobs.digests():
        if content.metadata.database.one("SELECT 1 FROM blobs WHERE digest = ?", digest) is not None:
            continue
        with content.metadata.transaction() as db:
            known = db.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone()
            path = content.blobs.path(digest)
            if known is None and path is not None and _older(Path(path), limit):
                swept.bytes += content.blobs.size(digest) or 0
                content.blobs.delete(digest)
                swept.blobs += 1


def _older(path: Path, limit: float) -> bool:
    try:
        return os.stat(path).st_ctime < limit
    except FileNotFoundError:
        return False
