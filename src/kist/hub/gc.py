"""Garbage collection while the Hub runs: blobs that no manifest names, and, if asked for, untagged manifests.

    manifest without tag, parent or subject, that no push has
      brought or relied on within the grace                        → deleted (only with ``untagged``)
    link (a repository has a blob) that no manifest there names,
      and that no push has relied on within the grace              → deleted
    blob without any link                                          → doomed → file removed → row removed
    file without a row, older than the grace                       → removed

A push in progress is never eaten: each HEAD, mount and upload renews the lease of the link or manifest, and everything
that makes a blob visible happens in a write transaction, as do the two steps that take it away. A kill between them
leaves a doomed row, which counts as absent, and is finished by the next run.
"""

from __future__ import annotations

from dataclasses import dataclass

from kist.hub.content import RENEW_AFTER, Content

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
    # A lease is as old as its last renewal, and younger ones than this are not renewed (content.py).
    leased = limit - RENEW_AFTER if grace > 0 else limit
    if untagged:
        swept.manifests = _drop_untagged(content, leased)
    swept.links = content.metadata.drop_links(leased)
    _remove_doomed(content, swept)
    _remove_strays(content, limit, swept)
    return swept


def evict(content: Content, budget: int) -> list[str]:
    """Forget cached repositories, the least recently pulled first, until the rest fits ``budget`` bytes.

    Their blobs go with the next `collect`. Returns the repositories' names.
    """
    rows = content.metadata.cached()
    total = sum(size for _, size in rows)
    evicted = []
    for name, size in rows:
        if total <= budget:
            break
        content.metadata.delete_repository(name)
        evicted.append(name)
        total -= size
    return evicted


def _drop_untagged(content: Content, limit: float) -> int:
    """Again and again, since what a deleted index named may be free now."""
    total = 0
    while count := content.metadata.drop_untagged(limit):
        total += count
    return total


def _remove_doomed(content: Content, swept: Swept) -> None:
    for digest in content.metadata.doom():
        with content.metadata.transaction():
            # Asked again inside of the transaction: a push may have brought it back.
            size = content.metadata.doomed_size(digest)
            if size is None:
                continue
            content.blobs.delete(digest)
            content.metadata.forget_blob(digest)
        swept.blobs += 1
        swept.bytes += size


def _remove_strays(content: Content, limit: float, swept: Swept) -> None:
    """Bytes whose row was never committed (a kill between the rename and the commit)."""
    for digest in content.blobs.digests():
        if content.metadata.knows_blob(digest):
            continue
        with content.metadata.transaction():
            since = content.blobs.stored_at(digest)
            if not content.metadata.knows_blob(digest) and since is not None and since < limit:
                swept.bytes += content.blobs.size(digest) or 0
                content.blobs.delete(digest)
                swept.blobs += 1
