"""The registry's stories, without HTTP: have a blob, take an upload, keep a manifest, forget it.

What a name points at is always whole: a blob's bytes are hashed and synced before they get their name, and
the row that makes it visible is committed after that; a manifest comes with all it needs or not at all.
Everything here is synchronous and thread-safe (the routes call it in worker threads).
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from kist.errors import KistError
from kist.hub.blobs import BlobStorage
from kist.hub.errors import HubError
from kist.hub.metadata import Metadata, StoredManifest
from kist.hub.names import is_upload
from kist.oci import digest as digests
from kist.oci import manifest as manifests
from kist.oci.digest import Digest
from kist.oci.manifest import Descriptor, Index, Manifest

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

MAX_MANIFEST = manifests.MAX_MANIFEST
HASH_PIECE = 4 << 20
#: A lease is renewed on disk only when this much of it (seconds) is used up: pushes ask for many blobs.
RENEW_AFTER = 300.0
#: Layers that registries need not hold (image-spec 1.1, layer.md#non-distributable-layers).
_ELSEWHERE = ("nondistributable", "foreign")


@dataclass
class _Progress:
    """What this process knows of an upload: the hash of its first ``offset`` bytes."""

    hasher: Hash
    offset: int = 0


class Content:
    """A Hub's content: ``blobs`` holds the bytes, ``metadata`` the names."""

    def __init__(
        self, blobs: BlobStorage, metadata: Metadata, *, max_blob: int = 0, private: bool = False
    ) -> None:
        self.blobs = blobs
        self.metadata = metadata
        self.max_blob = max_blob  # bytes; 0 is no limit
        self.private = private  # what a repository is when it is made by a push
        self._progress: OrderedDict[str, _Progress] = OrderedDict()
        self._lock = threading.Lock()

    # --- blobs ------------------------------------------------------------------------------------------

    def blob_size(self, repository: str, digest: Digest, *, for_push: bool = False) -> int:
        """The size of a blob of the repository. With ``for_push`` its lease is renewed."""
        size = self.metadata.linked_size(repository, digest)
        if size is None:
            raise HubError("BLOB_UNKNOWN", detail={"digest": digest})
        if for_push:
            self.metadata.renew(repository, digest, RENEW_AFTER)
        return size

    def open_blob(self, repository: str, digest: Digest) -> BinaryIO:
        self.blob_size(repository, digest)
        try:
            return self.blobs.open(digest)
        except FileNotFoundError:
            raise HubError("BLOB_UNKNOWN", detail={"digest": digest}) from None

    def delete_blob(self, repository: str, digest: Digest) -> None:
        self._check_mutable(repository)
        if not self.metadata.unlink(repository, digest):
            raise HubError("BLOB_UNKNOWN", detail={"digest": digest})

    def mount(self, repository: str, digest: Digest, source: str) -> bool:
        """Whether the blob could be taken over from repository ``source``."""
        with self.metadata.transaction():
            if self.metadata.linked_size(source, digest) is None:
                return False
            self.metadata.link(self.metadata.ensure_repository(repository, private=self.private), digest)
        return True

    def adopt(self, repository: str, digest: Digest, prefix: str) -> bool:
        """Whether the blob was here and is the repository's now: from one whose name begins so, or a public one.

        Never from a private one: an upstream's manifest may name any digest.
        """
        with self.metadata.transaction():
            if not self.metadata.is_open(digest, prefix):
                return False
            self.metadata.link(self.metadata.ensure_repository(repository, private=self.private), digest)
        return True

    # --- uploads ------------------------------------------------------------------------------------------

    def begin_upload(self, repository: str) -> str:
        upload = secrets.token_hex(16)
        self.metadata.begin_upload(upload, repository)
        self.blobs.begin(upload)
        self._remember(upload, _Progress(hashlib.sha256()))
        return upload

    def upload_size(self, repository: str, upload: str) -> int:
        """Bytes so far. An upload belongs to the repository that it was begun in."""
        size = None
        if is_upload(upload) and self.metadata.upload_repository(upload) == repository:
            size = self.blobs.upload_size(upload)
        if size is None:
            raise HubError("BLOB_UPLOAD_UNKNOWN", detail={"upload": upload[:100]})
        return size

    def append(self, upload: str, offset: int, pieces: Sequence[bytes]) -> int:
        """Write ``pieces`` at ``offset``, hashing them on the way. Returns the new offset."""
        size = sum(map(len, pieces))
        if self.max_blob and offset + size > self.max_blob:
            raise too_large(self.max_blob)
        progress = self._known(upload)
        try:
            self.blobs.append(upload, offset, pieces)
        except FileNotFoundError:
            raise HubError("BLOB_UPLOAD_UNKNOWN", detail={"upload": upload}) from None
        if progress is not None:
            if progress.offset != offset:
                self._forget(upload)  # hashed again at the end
            else:
                for piece in pieces:
                    progress.hasher.update(piece)
                progress.offset += size
        return offset + size

    def finish_upload(self, repository: str, upload: str, digest: Digest) -> None:
        """The upload becomes the blob ``digest`` of the repository, if that is what it is."""
        size = self.upload_size(repository, upload)
        actual = self._digest(upload, size, digests.algorithm(digest))
        if actual != digest:
            self.cancel_upload(repository, upload)
            raise HubError("DIGEST_INVALID", detail={"digest": digest, "actual": actual})
        self.blobs.seal(upload)
        with self.metadata.transaction():
            # Within one transaction, so that garbage collection can't remove the file between the two.
            if self.blobs.size(digest) is None:
                self.blobs.publish(upload, digest)
            self.metadata.add_blob(digest, size)
            self.metadata.link(self.metadata.ensure_repository(repository, private=self.private), digest)
            self.metadata.end_upload(upload)
        self.blobs.discard(upload)
        self._forget(upload)

    def cancel_upload(self, repository: str, upload: str) -> None:
        self.upload_size(repository, upload)
        self.metadata.end_upload(upload)
        self.blobs.discard(upload)
        self._forget(upload)

    def sweep_uploads(self, older_than: float) -> int:
        """Forget uploads that nobody has written to for ``older_than`` seconds; how many there were."""
        limit = self.metadata.clock() - older_than
        stale = [upload for upload, touched in self.blobs.uploads() if touched < limit]
        for upload in stale:
            self.metadata.end_upload(upload)
            self.blobs.discard(upload)
            self._forget(upload)
        for upload in self.metadata.uploads_before(limit):  # begun by a server that was killed before the file
            if self.blobs.upload_size(upload) is None:
                self.metadata.end_upload(upload)
        return len(stale)

    def _digest(self, upload: str, size: int, algorithm: str) -> Digest:
        progress = self._known(upload)
        if progress is not None and progress.offset == size and progress.hasher.name == algorithm:
            return digests.from_hash(progress.hasher)
        hasher = hashlib.new(algorithm)
        with self.blobs.open_upload(upload) as file:
            while piece := file.read(HASH_PIECE):
                hasher.update(piece)
        return digests.from_hash(hasher)

    def _known(self, upload: str) -> _Progress | None:
        with self._lock:
            return self._progress.get(upload)

    def _remember(self, upload: str, progress: _Progress) -> None:
        with self._lock:
            self._progress[upload] = progress
            while len(self._progress) > 10_000:
                self._progress.popitem(last=False)

    def _forget(self, upload: str) -> None:
        with self._lock:
            self._progress.pop(upload, None)

    # --- manifests ----------------------------------------------------------------------------------------

    def manifest(self, repository: str, reference: str) -> StoredManifest:
        """By tag or digest."""
        by_digest = ":" in reference
        found = (self.metadata.manifest(repository, Digest(reference)) if by_digest
                 else self.metadata.manifest_of_tag(repository, reference))
        if found is None:
            known = self.metadata.repository(repository) is not None
            detail = {"name": repository, "digest" if by_digest else "tag": reference}
            raise HubError("MANIFEST_UNKNOWN" if known else "NAME_UNKNOWN", detail=detail)
        return found

    def put_manifest(
        self, repository: str, reference: str, content: bytes, media_type: str, *, upstream: str | None = None
    ) -> StoredManifest:
        """Keep a manifest under its digest, and under a tag where ``reference`` is one.

        What it names must be there, unless it comes from an ``upstream``, where it can be fetched.
        """
        parsed = _parsed(content, media_type)
        digest = digests.of(content)
        if ":" in reference:
            digest = Digest(reference)
            if not digests.verify(content, digest):
                raise HubError("DIGEST_INVALID", detail={"digest": reference, "actual": digests.of(content)})
        stored = StoredManifest(
            digest, parsed.media_type, artifact_type(parsed), parsed.subject.digest if parsed.subject else None,
            parsed.annotations or {}, content, self.metadata.clock())
        with self.metadata.transaction():
            if upstream is None:
                self._check_present(repository, parsed)
            known = self.metadata.repository(repository)
            if ":" not in reference and known and known.immutable:
                _check_immutable(self.metadata.manifest_of_tag(repository, reference), digest, reference)
            private = self.private and upstream is None
            number = self.metadata.ensure_repository(repository, private=private, upstream=upstream)
            self.metadata.put_manifest(number, stored, children(parsed))
            if ":" not in reference:
                self.metadata.tag(number, reference, digest)
        return stored

    def rely_on_manifest(self, repository: str, digest: Digest) -> None:
        """Somebody has asked whether the manifest is there, as a push does that leaves out what is: renew its lease."""
        self.metadata.renew_manifest(repository, digest, RENEW_AFTER)

    def _check_present(self, repository: str, parsed: Manifest | Index) -> None:
        """What the manifest names must be there already (an index's images, an image's blobs)."""
        have: Callable[[Digest], bool]
        if isinstance(parsed, Index):
            wanted = [entry.digest for entry in parsed.manifests]
            have = lambda digest: self.metadata.manifest(repository, digest) is not None  # noqa: E731
        else:
            wanted = [entry.digest for entry in parsed.blobs if not is_elsewhere(entry.media_type)]
            have = lambda digest: self.metadata.linked_size(repository, digest) is not None  # noqa: E731
        missing = [digest for digest in dict.fromkeys(wanted) if not have(digest)]
        if missing:
            raise HubError("MANIFEST_BLOB_UNKNOWN", detail=[{"digest": digest} for digest in missing[:32]])
        if isinstance(parsed, Manifest):
            self._check_sizes(repository, parsed)

    def _check_sizes(self, repository: str, parsed: Manifest) -> None:
        """Clients bound a pull by what the manifest says: what is known to be wrong is not taken."""
        for entry in dict.fromkeys((entry.digest, entry.size) for entry in parsed.blobs):
            size = self.metadata.linked_size(repository, entry[0])
            if size is not None and size != entry[1]:
                raise HubError("MANIFEST_INVALID", f"the size of {entry[0]} is {size}, not {entry[1]}")

    def delete_manifest(self, repository: str, reference: str) -> None:
        """A tag loses its name only; a digest goes with all its tags."""
        found = self.manifest(repository, reference)
        self._check_mutable(repository)
        if ":" not in reference:
            self.metadata.untag(repository, reference)
        else:
            self.metadata.delete_manifest(repository, found.digest)

    def _check_mutable(self, repository: str) -> None:
        known = self.metadata.repository(repository)
        if known and known.immutable:
            raise HubError("DENIED", "the repository's tags are immutable", status=405)


def as_referrer(found: StoredManifest) -> Descriptor:
    """The manifest as a list of referrers has it (distribution-spec 1.1, #listing-referrers)."""
    return Descriptor(media_type=found.media_type, digest=found.digest, size=len(found.content),
                      artifact_type=found.artifact_type, annotations=found.annotations or None)


def too_large(limit: int) -> HubError:
    return HubError("SIZE_INVALID", f"the blob is larger than this registry takes ({limit} bytes)", status=413)


def is_elsewhere(media_type: str) -> bool:
    return any(word in media_type for word in _ELSEWHERE)


def children(parsed: Manifest | Index) -> list[Digest]:
    entries = parsed.manifests if isinstance(parsed, Index) else parsed.blobs
    return list(dict.fromkeys(entry.digest for entry in entries))


def artifact_type(parsed: Manifest | Index) -> str | None:
    """What referrers lists call it (distribution-spec 1.1, #listing-referrers)."""
    if parsed.artifact_type:
        return parsed.artifact_type
    return None if isinstance(parsed, Index) else parsed.config.media_type


def _parsed(content: bytes, media_type: str) -> Manifest | Index:
    if len(content) > MAX_MANIFEST:
        raise HubError("MANIFEST_INVALID", f"the manifest is larger than {MAX_MANIFEST} bytes", status=413)
    try:
        return manifests.parse(content, media_type)
    except KistError as error:
        raise HubError("MANIFEST_INVALID", str(error)) from None


def _check_immutable(present: StoredManifest | None, digest: Digest, tag: str) -> None:
    if present is not None and present.digest != digest:
        raise HubError("DENIED", f'tag "{tag}" is immutable: it points at {present.digest}', status=403)
