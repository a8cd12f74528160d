"""What the Hub knows: repositories, their manifests, tags and blobs. An interface with two implementations.

`SqliteMetadata`   one file (database.py has the tables): the default
`MemoryMetadata`   for tests and throw-away Hubs

One suite runs over both (tests/unit/hub/test_hub_metadata.py); another database can follow: the interface asks for
transactions, and for nothing that only SQLite has. Each method is one question or one change; those that belong
together are put into one transaction by `content.py` (``with metadata.transaction():``), which other writers
wait for, and which leaves nothing behind when it fails.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from kist.hub.account_storage import AccountStorage
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


@dataclass(frozen=True)
class Found:
    """One repository in a list."""

    name: str
    summary: str
    description: str
    private: bool
    updated: float
    pulls: int
    tags: int


class Metadata(ABC):
    """Thread-safe; ``clock`` gives seconds since the epoch, ``accounts`` is where users and the like are kept."""

    clock: Callable[[], float]
    accounts: AccountStorage

    @abstractmethod
    def transaction(self) -> AbstractContextManager[object]:
        """All that is done in it is there afterwards, or nothing of it. Joins one of the same thread."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is open."""

    # --- repositories ---

    @abstractmethod
    def repository(self, name: str) -> Repository | None: ...

    @abstractmethod
    def ensure_repository(self, name: str, *, private: bool = False, upstream: str | None = None) -> int:
        """The repository's id; it is made where there is none yet."""

    @abstractmethod
    def describe(
        self, name: str, *, summary: str | None = None, description: str | None = None, private: bool | None = None,
        immutable: bool | None = None,
    ) -> None:
        """Set what is not None."""

    @abstractmethod
    def repositories(self, n: int, last: str = "") -> list[str]:
        """Names of repositories that hold a manifest, in order, after ``last``."""

    @abstractmethod
    def delete_repository(self, name: str) -> bool:
        """With all that is in it; whether it was there."""

    @abstractmethod
    def search(self, words: Sequence[str], limit: int) -> list[Found]:
        """Repositories with a manifest whose name, summary or description contain every one of the (lower) words."""

    @abstractmethod
    def cached(self) -> list[tuple[str, int]]:
        """(name, bytes) of the upstreams' repositories, the least recently pulled first."""

    # --- blobs ---

    @abstractmethod
    def linked_size(self, repository: str, digest: Digest) -> int | None:
        """The size of a blob that the repository has, None where it has none of that digest."""

    @abstractmethod
    def blob_size(self, digest: Digest) -> int | None:
        """The size of a blob, whoever has it; None for one that is not there, or doomed."""

    @abstractmethod
    def is_open(self, digest: Digest, prefix: str) -> bool:
        """Whether a repository whose name begins so has the blob, or one of ours that is not private."""

    @abstractmethod
    def holders(self, digest: Digest, limit: int) -> list[str]:
        """Names of repositories that have the blob, in order."""

    @abstractmethod
    def add_blob(self, digest: Digest, size: int) -> None:
        """The blob is there; also takes a doom back."""

    @abstractmethod
    def link(self, repository: int, digest: Digest) -> None:
        """The repository has the blob; also renews its lease."""

    @abstractmethod
    def renew(self, repository: str, digest: Digest, older_than: float) -> None:
        """A push relies on the blob: garbage collection leaves it for a while. Written only if it matters."""

    @abstractmethod
    def unlink(self, repository: str, digest: Digest) -> bool: ...

    @abstractmethod
    def listing(self, digest: Digest) -> bytes | None:
        """What `keep_listing` was given."""

    @abstractmethod
    def keep_listing(self, digest: Digest, packed: bytes) -> None:
        """Keep a layer's files (listings.py) for as long as the blob is there."""

    # --- manifests ---

    @abstractmethod
    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None: ...

    @abstractmethod
    def manifest_of_tag(self, repository: str, tag: str) -> StoredManifest | None: ...

    @abstractmethod
    def has_manifests(self, repository: str) -> bool: ...

    @abstractmethod
    def put_manifest(self, repository: int, manifest: StoredManifest, children: Iterable[Digest]) -> None:
        """Keep it, or renew its lease where it is there; ``children`` are the blobs and manifests that it names."""

    @abstractmethod
    def renew_manifest(self, repository: str, digest: Digest, older_than: float) -> None:
        """A push relies on the manifest, as for `renew`."""

    @abstractmethod
    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """With its tags."""

    @abstractmethod
    def parents(self, repository: str, digest: Digest) -> list[Digest]:
        """The manifests of the repository that name this one, or this blob."""

    @abstractmethod
    def referrers(self, repository: str, subject: Digest, artifact_type: str = "") -> Iterator[StoredManifest]:
        """In the order in which they came, each read when it is asked for: together they may be large."""

    # --- tags ---

    @abstractmethod
    def tags(self, repository: str, n: int, last: str = "") -> list[Tag]:
        """In lexical order, after ``last``."""

    @abstractmethod
    def tag_updated(self, repository: str, name: str) -> float | None: ...

    @abstractmethod
    def tag(self, repository: int, name: str, digest: Digest) -> None:
        """Make or move a tag."""

    @abstractmethod
    def untag(self, repository: str, name: str) -> bool: ...

    # --- uploads ---

    @abstractmethod
    def begin_upload(self, upload: str, repository: str) -> None: ...

    @abstractmethod
    def upload_repository(self, upload: str) -> str | None: ...

    @abstractmethod
    def end_upload(self, upload: str) -> None: ...

    @abstractmethod
    def uploads_before(self, moment: float) -> list[str]: ...

    # --- numbers ---

    @abstractmethod
    def add_pulls(self, counts: dict[tuple[str, str], int]) -> None:
        """``counts`` by (repository, day as YYYY-MM-DD)."""

    @abstractmethod
    def pulls(self, repository: str, since: str) -> dict[str, int]:
        """By day, from day ``since`` on."""

    @abstractmethod
    def total_pulls(self, repository: str) -> int: ...

    @abstractmethod
    def totals(self) -> dict[str, int]:
        """How much there is, for metrics and the front page: repositories, manifests, tags, blobs, bytes, uploads."""

    # --- garbage (gc.py has the story) ---

    @abstractmethod
    def drop_untagged(self, limit: float) -> int:
        """Delete manifests without tag, parent and present subject that no push has brought or relied on since
        ``limit``, once; how many."""

    @abstractmethod
    def drop_links(self, limit: float) -> int:
        """Delete links not used since ``limit`` whose blob no manifest of the repository names; how many."""

    @abstractmethod
    def doom(self) -> list[Digest]:
        """Mark blobs without any link; all that are marked, from earlier runs, too."""

    @abstractmethod
    def doomed_size(self, digest: Digest) -> int | None:
        """None for a blob that is not marked (any more)."""

    @abstractmethod
    def forget_blob(self, digest: Digest) -> None: ...

    @abstractmethod
    def knows_blob(self, digest: Digest) -> bool:
        """Marked or not."""
