"""Writing an image straight into a Hub's data folder, whether a server runs over it or not.

    publish(Path("/var/lib/kist/hub"), "library/busybox", "latest", Path("layout"))

The same stories as over HTTP (content.py): every digest is checked, and a name appears when all that it
needs is there. Another process's server sees the image at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kist.errors import InvalidParameter
from kist.hub.app import open_content
from kist.hub.content import HASH_PIECE, Content, is_elsewhere
from kist.hub.errors import HubError
from kist.hub.names import is_tag, repository_name
from kist.oci import digest as digests
from kist.oci import manifest as manifests
from kist.oci.digest import Digest
from kist.oci.manifest import Descriptor, Index

_REF_NAME = "org.opencontainers.image.ref.name"


def publish(
    data: Path, name: str, tag: str, layout: Path, *, also: Sequence[str] = (), summary: str | None = None,
    description: str | None = None,
) -> Digest:
    """Put the image of an OCI layout folder into the Hub's ``data`` as ``name:tag``; returns its digest.

    ``also``: more tags for the same image.

    The image is the layout's only entry, or the one annotated with ``tag``; entries that refer to others
    (``subject``: signatures, bills of materials) come along, untagged. ``summary`` (one line) and
    ``description`` (Markdown) are what the Hub's pages show. Raises InvalidParameter.
    """
    repository_name(name)
    for one in (tag, *also):
        if not is_tag(one):
            raise InvalidParameter(f'invalid tag "{one}"')
    content = open_content(data)
    try:
        digest = _publish(content, name, tag, layout, summary, description)
        stored = content.manifest(name, digest)
        for one in also:
            content.put_manifest(name, one, stored.content, stored.media_type)
        return digest
    except HubError as error:
        raise InvalidParameter(f"{layout}: {error.message}") from None
    finally:
        content.metadata.close()


def _publish(
    content: Content, name: str, tag: str, layout: Path, summary: str | None, description: str | None
) -> Digest:
    index = manifests.parse((layout / "index.json").read_bytes(), manifests.OCI_INDEX)
    if not isinstance(index, Index) or not index.manifests:
        raise InvalidParameter(f"{layout}: index.json names no image")
    chosen = _chosen(index, tag, layout)
    _put(content, name, chosen, layout, tag)
    for entry in index.manifests:
        parsed = manifests.parse(_read(layout, entry), entry.media_type)
        if entry.digest != chosen.digest and parsed.subject is not None:
            _put(content, name, entry, layout, entry.digest)
    content.metadata.describe(name, summary=summary, description=description)
    return chosen.digest


def _chosen(index: Index, tag: str, layout: Path) -> Descriptor:
    named = [entry for entry in index.manifests if (entry.annotations or {}).get(_REF_NAME) == tag]
    candidates = named or index.manifests
    if len(candidates) != 1 and not named:
        raise InvalidParameter(f'{layout}: none of its {len(candidates)} images is annotated with tag "{tag}"')
    return candidates[0]


def _put(content: Content, name: str, entry: Descriptor, layout: Path, reference: str) -> None:
    """A manifest after all that it names."""
    data = _read(layout, entry)
    parsed = manifests.parse(data, entry.media_type)
    if isinstance(parsed, Index):
        for child in parsed.manifests:
            _put(content, name, child, layout, child.digest)
    else:
        for blob in parsed.blobs:
            if not is_elsewhere(blob.media_type):
                _put_blob(content, name, blob.digest, _file(layout, blob.digest))
    content.put_manifest(name, reference, data, entry.media_type)


def _put_blob(content: Content, name: str, digest: Digest, path: Path) -> None:
    if content.metadata.linked_size(name, digest) is not None:
        return
    upload, offset = content.begin_upload(name), 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(HASH_PIECE):
            offset = content.append(upload, offset, [piece])
    content.finish_upload(name, upload, digest)


def _file(layout: Path, digest: Digest) -> Path:
    return layout / "blobs" / digests.algorithm(digest) / digests.encoded(digest)


def _read(layout: Path, entry: Descriptor) -> bytes:
    path = _file(layout, entry.digest)
    if path.stat().st_size > manifests.MAX_MANIFEST:
        raise InvalidParameter(f"{path}: too large for a manifest")
    data = path.read_bytes()
    if not digests.verify(data, entry.digest):
        raise InvalidParameter(f"{path} is not what its name says")
    return data
