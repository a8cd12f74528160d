"""`manifest push`: a list of manifests goes to its registry, and before it those that another repository there has.

::

    for each manifest of another repository:  its blobs (mounted, else sent on) ─▶ itself, by digest
    the list, by its tag
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

from kist.api import bodies
from kist.engine.pull import Pull
from kist.errors import InvalidParameter
from kist.oci import digest as digests
from kist.oci import manifest as manifests
from kist.oci import reference
from kist.oci.manifest import Descriptor, Index
from kist.oci.reference import Reference
from kist.registry import pull as registry
from kist.registry.client import RegistryClient
from kist.registry.push import Push

Json = dict[str, Any]


async def push(pull: Pull, name: str, body: bodies.ManifestListPush, auth: bodies.AuthConfig | None) -> Json:
    """The list's digest, and which manifests were brought along (``Ref`` and ``Digest`` of each)."""
    target = reference.parse_tagged(name)
    if target.digest:
        raise InvalidParameter("a list of manifests is pushed by a tag, not by a digest")
    content, sources = body.Content.encode(), [reference.parse_tagged(one) for one in body.Sources or ()]
    try:
        index = manifests.parse(content, body.MediaType)
    except manifests.InvalidManifest as error:  # a registry's is a failure; this one is the client's
        raise InvalidParameter(error.message) from None
    if not isinstance(index, Index) or len(index.manifests) != len(sources):
        raise InvalidParameter("a list has as many sources as manifests")
    for source in sources:
        if source.domain != target.domain:
            raise InvalidParameter("cannot use source images from a different registry than the target image: "
                                   f"{source.domain} != {target.domain}")

    def work() -> Json:
        with closing(pull.client(target.domain, auth)) as client:
            to = Push(client, target.path, familiar=target.familiar_name)
            brought = [_bring(client, to, entry, source, target)
                       for entry, source in zip(index.manifests, sources, strict=True) if source.path != target.path]
            return {"Digest": to.manifest(target.tag or "latest", content, index.media_type), "Pushed": brought}

    return await asyncio.to_thread(work)


def _bring(client: RegistryClient, to: Push, entry: Descriptor, source: Reference, target: Reference) -> Json:
    """One manifest, with its blobs, from one repository of the registry into another."""
    found = registry.resolve(source.with_digest(entry.digest), None, client, mirrors=False)
    for blob in found.manifest.blobs:
        if not blob.is_foreign:
            to.blob(blob, partial(_pieces, found, blob), mount_from=source.path)
    to.manifest(entry.digest, found.content, found.descriptor.media_type)
    return {"Ref": target.with_digest(entry.digest).familiar, "Digest": digests.of(found.content)}


def _pieces(found: registry.Resolved, blob: Descriptor, offset: int) -> Iterator[bytes]:
    return registry.fetch_blob(found, blob, offset=offset, mirrors=False)

