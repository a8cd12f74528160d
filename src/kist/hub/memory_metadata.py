"""The metadata in memory, for tests and throw-away Hubs (metadata.py says what each method does)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TypeVar

from kist.hub.memory_accounts import MemoryAccounts
from kist.hub.memory_tables import Tables, drop
from kist.hub.metadata import Found, Metadata, Repository, StoredManifest, Tag
from kist.oci.digest import Digest

T = TypeVar("T")


@dataclass(frozen=True)
class _Blob:
    size: int
    doomed: bool = False


class MemoryMetadata(Metadata):
    """Gone with the process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._tables = Tables()
        table = self._tables.table
        self._repositories: dict[str, Repository] = table()
        self._blobs: dict[Digest, _Blob] = table()
        self._links: dict[tuple[int, Digest], float] = table()
        self._manifests: dict[tuple[int, Digest], StoredManifest] = table()
        self._used: dict[tuple[int, Digest], float] = table()  # the last push that brought the manifest or relied on it
        self._edges: dict[tuple[int, Digest, Digest], None] = table()
        self._tags: dict[tuple[int, str], Tag] = table()
        self._uploads: dict[str, tuple[str, float]] = table()
        self._pulls: dict[tuple[int, str], int] = table()
        self._listings: dict[Digest, bytes] = table()
        self.accounts = MemoryAccounts(self._tables)

    def transaction(self) -> AbstractContextManager[object]:
        return self._tables.transaction()

    def close(self) -> None:
        return

    # --- repositories ---

    def repository(self, name: str) -> Repository | None:
        with self._tables.lock:
            return self._repositories.get(name)

    def _id(self, name: str) -> int:
        """0, which no repository has, where there is none."""
        found = self._repositories.get(name)
        return found.id if found else 0

    def ensure_repository(self, name: str, *, private: bool = False, upstream: str | None = None) -> int:
        with self.transaction():
            if name not in self._repositories:
                now = self.clock()
                self._repositories[name] = Repository(
                    next(self._tables.numbers), name, now, now, private, immutable=False, summary="", description="",
                    upstream=upstream)
            return self._repositories[name].id

    def describe(
        self, name: str, *, summary: str | None = None, description: str | None = None, private: bool | None = None,
        immutable: bool | None = None,
    ) -> None:
        with self.transaction():
            old = self._repositories.get(name)
            if old is not None:
                self._repositories[name] = replace(
                    old, summary=_or(summary, old.summary), description=_or(description, old.description),
                    private=_or(private, old.private), immutable=_or(immutable, old.immutable))

    def repositories(self, n: int, last: str = "") -> list[str]:
        with self._tables.lock:
            return sorted(one.name for one in self._full() if one.name > last)[:n]

    def _full(self) -> Iterator[Repository]:
        """Those that hold a manifest."""
        ids = {repository for repository, _ in self._manifests}
        return (one for one in self._repositories.values() if one.id in ids)

    def delete_repository(self, name: str) -> bool:
        with self.transaction():
            found = self._repositories.pop(name, None)
            if found is None:
                return False
            for table in (self._links, self._manifests, self._used, self._edges, self._tags, self._pulls):
                drop(table, column=0, value=found.id)
            return True

    def search(self, words: Sequence[str], limit: int) -> list[Found]:
        with self._tables.lock:
            found = [one for one in self._full()
                     if all(any(word in text.lower() for text in (one.name, one.summary, one.description))
                            for word in words)]
            return [Found(one.name, one.summary, one.description, one.private, one.updated, self.total_pulls(one.name),
                          sum(repository == one.id for repository, _ in self._tags))
                    for one in sorted(found, key=lambda one: one.name)[:limit]]

    def cached(self) -> list[tuple[str, int]]:
        with self._tables.lock:
            found = [one for one in self._repositories.values() if one.upstream is not None]
            last = {one.id: max((day for number, day in self._pulls if number == one.id), default="") for one in found}
            size = {one.id: sum(self._blobs[digest].size for number, digest in self._links
                                if number == one.id and digest in self._blobs) for one in found}
            return [(one.name, size[one.id]) for one in sorted(found, key=lambda one: (last[one.id], one.updated))]

    # --- blobs ---

    def linked_size(self, repository: str, digest: Digest) -> int | None:
        with self._tables.lock:
            return self.blob_size(digest) if (self._id(repository), digest) in self._links else None

    def blob_size(self, digest: Digest) -> int | None:
        with self._tables.lock:
            found = self._blobs.get(digest)
            return found.size if found and not found.doomed else None

    def is_open(self, digest: Digest, prefix: str) -> bool:
        with self._tables.lock:
            if self.blob_size(digest) is None:
                return False
            return any((one.id, digest) in self._links and
                       (one.name.startswith(prefix) or (one.upstream is None and not one.private))
                       for one in self._repositories.values())

    def holders(self, digest: Digest, limit: int) -> list[str]:
        with self._tables.lock:
            return sorted(one.name for one in self._repositories.values() if (one.id, digest) in self._links)[:limit]

    def add_blob(self, digest: Digest, size: int) -> None:
        with self.transaction():
            self._blobs[digest] = _Blob(size)

    def link(self, repository: int, digest: Digest) -> None:
        with self.transaction():
            self._links[repository, digest] = self.clock()

    def renew(self, repository: str, digest: Digest, older_than: float) -> None:
        with self.transaction():
            key, now = (self._id(repository), digest), self.clock()
            if key in self._links and now - self._links[key] > older_than:
                self._links[key] = now

    def unlink(self, repository: str, digest: Digest) -> bool:
        with self.transaction():
            return self._links.pop((self._id(repository), digest), None) is not None

    def listing(self, digest: Digest) -> bytes | None:
        with self._tables.lock:
            return self._listings.get(digest)

    def keep_listing(self, digest: Digest, packed: bytes) -> None:
        with self.transaction():
            if digest in self._blobs:
                self._listings.setdefault(digest, packed)

    # --- manifests ---

    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None:
        with self._tables.lock:
            return self._manifests.get((self._id(repository), digest))

    def manifest_of_tag(self, repository: str, tag: str) -> StoredManifest | None:
        with self._tables.lock:
            found = self._tags.get((self._id(repository), tag))
            return self.manifest(repository, found.digest) if found else None

    def has_manifests(self, repository: str) -> bool:
        with self._tables.lock:
            number = self._id(repository)
            return any(one == number for one, _ in self._manifests)

    def put_manifest(self, repository: int, manifest: StoredManifest, children: Iterable[Digest]) -> None:
        with self.transaction():
            self._manifests.setdefault((repository, manifest.digest), manifest)
            self._used[repository, manifest.digest] = manifest.pushed
            for child in children:
                self._edges[repository, manifest.digest, child] = None
            for name, one in self._repositories.items():
                if one.id == repository:
                    self._repositories[name] = replace(one, updated=self.clock())
                    break

    def renew_manifest(self, repository: str, digest: Digest, older_than: float) -> None:
        with self.transaction():
            key, now = (self._id(repository), digest), self.clock()
            if key in self._used and now - self._used[key] > older_than:
                self._used[key] = now

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        with self.transaction():
            return self._delete_manifest(self._id(repository), digest)

    def _delete_manifest(self, repository: int, digest: Digest) -> bool:
        if self._manifests.pop((repository, digest), None) is None:
            return False
        del self._used[repository, digest]
        for edge in [edge for edge in self._edges if edge[:2] == (repository, digest)]:
            del self._edges[edge]
        for key in [key for key, tag in self._tags.items() if key[0] == repository and tag.digest == digest]:
            del self._tags[key]
        return True

    def parents(self, repository: str, digest: Digest) -> list[Digest]:
        with self._tables.lock:
            number = self._id(repository)
            return sorted(parent for one, parent, child in self._edges if one == number and child == digest)

    def referrers(self, repository: str, subject: Digest, artifact_type: str = "") -> Iterator[StoredManifest]:
        with self._tables.lock:
            number = self._id(repository)
            found = [one for (where, _), one in self._manifests.items() if where == number and one.subject == subject
                     and artifact_type in ("", one.artifact_type)]
        yield from sorted(found, key=lambda one: (one.pushed, one.digest))

    # --- tags ---

    def tags(self, repository: str, n: int, last: str = "") -> list[Tag]:
        with self._tables.lock:
            number = self._id(repository)
            found = (tag for (one, _), tag in self._tags.items() if one == number and tag.name > last)
            return sorted(found, key=lambda tag: tag.name)[:n]

    def tag_updated(self, repository: str, name: str) -> float | None:
        with self._tables.lock:
            found = self._tags.get((self._id(repository), name))
            return found.updated if found else None

    def tag(self, repository: int, name: str, digest: Digest) -> None:
        with self.transaction():
            self._tags[repository, name] = Tag(name, digest, self.clock())

    def untag(self, repository: str, name: str) -> bool:
        with self.transaction():
            return self._tags.pop((self._id(repository), name), None) is not None

    # --- uploads ---

    def begin_upload(self, upload: str, repository: str) -> None:
        with self.transaction():
            self._uploads[upload] = (repository, self.clock())

    def upload_repository(self, upload: str) -> str | None:
        with self._tables.lock:
            return self._uploads[upload][0] if upload in self._uploads else None

    def end_upload(self, upload: str) -> None:
        with self.transaction():
            self._uploads.pop(upload, None)

    def uploads_before(self, moment: float) -> list[str]:
        with self._tables.lock:
            return [upload for upload, (_, started) in self._uploads.items() if started < moment]

    # --- numbers ---

    def add_pulls(self, counts: dict[tuple[str, str], int]) -> None:
        with self.transaction():
            for (name, day), count in counts.items():
                if number := self._id(name):
                    self._pulls[number, day] = self._pulls.get((number, day), 0) + count

    def pulls(self, repository: str, since: str) -> dict[str, int]:
        with self._tables.lock:
            number = self._id(repository)
            return {day: count for (one, day), count in sorted(self._pulls.items()) if one == number and day >= since}

    def total_pulls(self, repository: str) -> int:
        return sum(self.pulls(repository, "").values())

    def totals(self) -> dict[str, int]:
        with self._tables.lock:
            sizes = [blob.size for blob in self._blobs.values() if not blob.doomed]
            return {"repositories": len(list(self._full())), "manifests": len(self._manifests),
                    "tags": len(self._tags), "blobs": len(sizes), "bytes": sum(sizes), "uploads": len(self._uploads)}

    # --- garbage ---

    def drop_untagged(self, limit: float) -> int:
        with self.transaction():
            tagged = {(repository, tag.digest) for (repository, _), tag in self._tags.items()}
            named = {(repository, child) for repository, _, child in self._edges}
            free = [key for key, one in self._manifests.items() if self._used[key] < limit and key not in tagged
                    and key not in named and (key[0], one.subject) not in self._manifests]
            for repository, digest in free:
                self._delete_manifest(repository, digest)
            return len(free)

    def drop_links(self, limit: float) -> int:
        with self.transaction():
            named = {(repository, child) for repository, _, child in self._edges}
            free = [key for key, used in self._links.items() if used < limit and key not in named]
            for key in free:
                del self._links[key]
            return len(free)

    def doom(self) -> list[Digest]:
        with self.transaction():
            linked = {digest for _, digest in self._links}
            for digest, blob in list(self._blobs.items()):
                if digest not in linked:
                    self._blobs[digest] = replace(blob, doomed=True)
            return [digest for digest, blob in self._blobs.items() if blob.doomed]

    def doomed_size(self, digest: Digest) -> int | None:
        with self._tables.lock:
            found = self._blobs.get(digest)
            return found.size if found and found.doomed else None

    def forget_blob(self, digest: Digest) -> None:
        with self.transaction():
            self._blobs.pop(digest, None)
            self._listings.pop(digest, None)

    def knows_blob(self, digest: Digest) -> bool:
        with self._tables.lock:
            return digest in self._blobs


def _or(value: T | None, old: T) -> T:
    return old if value is None else value
