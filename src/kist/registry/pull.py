"""Pulling: a name → the manifest for a platform → blobs, each as a stream of chunks.

    resolve(ref, platform, client)       name → (index →) manifest, verified against its digest
    fetch_blob(resolved, layer)          chunks; resumed by Range, bounded by the descriptor's size

Whatever a registry sends, the result is the right bytes or an error: sizes are those of the descriptors,
digests are checked here, and a stream that stops is asked for again from where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from kist.errors import EngineFailure, KistError, Unavailable
from kist.oci import digest as digests
from kist.oci import manifest as manifests
from kist.oci.digest import Digest
from kist.oci.image import MAX_CONFIG
from kist.oci.manifest import Descriptor, Index, Manifest
from kist.oci.platform import Platform
from kist.oci.reference import Reference
from kist.registry.client import RegistryClient, origin
from kist.registry.protocol import (
    ACCEPT_MANIFESTS,
    MAX_LIST_BODY,
    MAX_MANIFEST,
    Endpoint,
    Subject,
    Transient,
    content_range_start,
    next_link,
)
from kist.registry.transport import Answer, ConnectionFailed

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

MAX_NESTED_INDEXES = 3
MAX_TAGS = 100_000


class VerificationFailed(EngineFailure):
    """The registry's bytes are not what their digest names."""


@dataclass(frozen=True)
class Resolved:
    """What a name stands for, on one platform. All bytes in here are verified."""

    reference: Reference
    descriptor: Descriptor  # of ``content``
    content: bytes  # the image's manifest as the registry keeps it
    manifest: Manifest
    top: Descriptor  # what the name itself points at: the index where there is one, else ``descriptor``
    indexes: tuple[tuple[Descriptor, bytes], ...]  # the indexes on the way, outermost first
    client: RegistryClient
    endpoint: Endpoint

    @property
    def mirror(self) -> str | None:
        """The mirror's URL that the manifest came from, None where it was the registry itself."""
        return self.endpoint.base if self.endpoint.mirror else None

    @property
    def source(self) -> str:
        return self.endpoint.base


def resolve(
    reference: Reference, platform: Platform | None, client: RegistryClient, *, strict: bool = False,
    mirrors: bool = True,
) -> Resolved:
    """The manifest that ``reference`` (tag or digest) names for ``platform``.

    ``platform`` None takes a reference that names no index, or its first entry. Raises NotFound,
    Unauthorized, Unavailable, VerificationFailed, InvalidManifest with Docker's words.
    """
    return client.ask(lambda endpoint: _resolve_at(endpoint, reference, platform, client, strict), mirrors=mirrors)


def _resolve_at(
    endpoint: Endpoint, reference: Reference, platform: Platform | None, client: RegistryClient, strict: bool
) -> Resolved:
    descriptor, content, found = fetch_manifest(client, endpoint, reference)
    top, indexes = descriptor, []
    while isinstance(found, Index):
        indexes.append((descriptor, content))
        if len(indexes) > MAX_NESTED_INDEXES:
            raise manifests.InvalidManifest("invalid manifest: indexes within indexes, too deep")
        wanted = found.choose(platform or _first_platform(found), strict=strict)
        descriptor, content, found = fetch_manifest(client, endpoint, reference.with_digest(wanted.digest), wanted)
    return Resolved(reference, descriptor, content, found, top, tuple(indexes), client, endpoint)


def _first_platform(index: Index) -> Platform:
    return next((entry.platform for entry in index.manifests if entry.platform), Platform("amd64", "linux"))


def fetch_manifest(
    client: RegistryClient, endpoint: Endpoint, reference: Reference, expected: Descriptor | None = None
) -> tuple[Descriptor, bytes, Manifest | Index]:
    """One manifest or index: its descriptor, bytes (verified) and parsed form."""
    subject = Subject(reference.familiar_name, reference.familiar)
    url = endpoint.manifest(reference.path, reference.digest or reference.tag or "latest")
    with client.request(endpoint, "GET", url, subject=subject, scope=pull_scope(reference.path),
                        headers={"Accept": ACCEPT_MANIFESTS, "Accept-Encoding": "identity"}) as answer:
        limit = min(MAX_MANIFEST, expected.size) if expected else MAX_MANIFEST
        content = answer.read(limit)
        media_type = answer.header("Content-Type")
        announced = answer.header("Docker-Content-Digest")
    wanted = reference.digest or (digests.parse(announced) if digests.is_digest(announced) else None)
    if wanted is not None and not digests.verify(content, wanted):
        raise VerificationFailed(f"manifest verification failed for digest {wanted}")
    found = manifests.parse(content, media_type)
    return Descriptor(media_type=found.media_type, digest=wanted or digests.of(content), size=len(content),
                      platform=expected.platform if expected else None), content, found


def head_manifest(client: RegistryClient, reference: Reference) -> Digest | None:
    """The digest that a name points at now, without fetching it; None where the registry won't say."""
    subject = Subject(reference.familiar_name, reference.familiar)

    def act(endpoint: Endpoint) -> Digest | None:
        url = endpoint.manifest(reference.path, reference.digest or reference.tag or "latest")
        with client.request(endpoint, "HEAD", url, subject=subject, scope=pull_scope(reference.path),
                            headers={"Accept": ACCEPT_MANIFESTS}) as answer:
            announced = answer.header("Docker-Content-Digest")
            return Digest(announced) if digests.is_digest(announced) else None

    return client.ask(act)


def pull_scope(name: str) -> str:
    return f"repository:{name}:pull"


# --- blobs ------------------------------------------------------------------------------------------------


def read_blob(resolved: Resolved, descriptor: Descriptor, limit: int = MAX_CONFIG) -> bytes:
    """A small blob (an image's configuration) as a whole, verified."""
    if descriptor.size > limit:
        raise manifests.InvalidManifest(f"{descriptor.digest} is {descriptor.size} bytes long, more than {limit}")
    return b"".join(fetch_blob(resolved, descriptor))


def fetch_blob(
    resolved: Resolved, descriptor: Descriptor, *, offset: int = 0, hasher: Hash | None = None,
    verify: bool = True, mirrors: bool = True,
) -> Iterator[bytes]:
    """The blob's bytes from ``offset`` on, never more than ``descriptor.size``.

    Verified at the end, unless the caller does so himself (``verify=False``) or starts in the middle
    without giving the hash of what he has (``hasher``). Broken connections are resumed by Range, then
    the other endpoints are tried, from the same byte on.
    """
    if hasher is None and verify and offset == 0:
        hasher = digests.hasher(descriptor.digest)
    if not verify:
        hasher = None
    for chunk in _fetch_somewhere(resolved, descriptor, offset, mirrors=mirrors):
        if hasher is not None:
            hasher.update(chunk)
        yield chunk
    if hasher is not None and digests.from_hash(hasher) != descriptor.digest:
        raise VerificationFailed(f"filesystem layer verification failed for digest {descriptor.digest}")


def _fetch_somewhere(resolved: Resolved, descriptor: Descriptor, got: int, *, mirrors: bool) -> Iterator[bytes]:
    client = resolved.client
    endpoints = [resolved.endpoint] + [point for point in client.endpoints if point != resolved.endpoint]
    if resolved.endpoint in client.endpoints and not resolved.endpoint.mirror:
        endpoints = endpoints[:1]  # the registry itself answered: a mirror that didn't won't know better
    problem: KistError | None = None
    for endpoint in endpoints:
        if endpoint.mirror and not mirrors:
            continue
        try:
            for chunk in stream_blob(client, endpoint, resolved.reference, descriptor, got):
                got += len(chunk)
                yield chunk
            return
        except KistError as error:
            problem = error
    if problem is not None:
        raise problem


def stream_blob(
    client: RegistryClient, endpoint: Endpoint, reference: Reference, descriptor: Descriptor, got: int = 0
) -> Iterator[bytes]:
    """One endpoint's stream from byte ``got`` on, taken up again where it breaks. Bounded, not verified."""
    patience = client.config.patience
    failures = 0
    # An empty blob is asked for, too: that it exists is part of the answer.
    while got < descriptor.size or (descriptor.size == 0 and failures == 0):
        problem: Transient | None = None
        try:
            for chunk in _fetch_once(client, endpoint, reference, descriptor, got):
                got += len(chunk)
                failures = 0
                yield chunk
            if got >= descriptor.size:
                return
        except Transient as error:
            problem = error
        failures += 1
        if failures > patience.retries:
            words = f"unexpected EOF: {descriptor.digest} ends after {got} of {descriptor.size} bytes"
            raise problem or ConnectionFailed(words)
        time.sleep(min(patience.pause * 2 ** (failures - 1), 10.0))


def _fetch_once(
    client: RegistryClient, endpoint: Endpoint, reference: Reference, descriptor: Descriptor, got: int
) -> Iterator[bytes]:
    name = reference.path
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={got}-"} if got else {})
    with client.request(
        endpoint, "GET", endpoint.blob(name, descriptor.digest), headers=headers,
        subject=Subject(reference.familiar_name), scope=pull_scope(name), expect=(200, 206),
    ) as answer:
        skip = _bytes_to_skip(answer, got, descriptor)
        left = descriptor.size - got
        for chunk in answer.chunks():
            if skip:
                dropped = min(skip, len(chunk))
                skip -= dropped
                chunk = chunk[dropped:]
                if not chunk:
                    continue
            left -= len(chunk)
            if left < 0:
                raise VerificationFailed(f"filesystem layer verification failed for digest {descriptor.digest}: "
                                         f"the registry sends more than its {descriptor.size} bytes")
            yield chunk


def _bytes_to_skip(answer: Answer, got: int, descriptor: Descriptor) -> int:
    """How many bytes of this answer we have already; 0 where the registry honoured the Range."""
    if answer.status == 206:
        if content_range_start(answer.header("Content-Range")) != got:
            raise Unavailable(f'Get "{answer.url}": the registry answered with another range than asked for')
        return 0
    if answer.length is not None and answer.length > descriptor.size:
        raise VerificationFailed(f"filesystem layer verification failed for digest {descriptor.digest}: the "
                                 f"registry announces {answer.length} bytes, the manifest {descriptor.size}")
    return got


# --- lists ------------------------------------------------------------------------------------------------


def list_tags(client: RegistryClient, reference: Reference, *, mirrors: bool = True) -> list[str]:
    """All tags of a repository, in the registry's order."""

    def act(endpoint: Endpoint) -> list[str]:
        tags: list[str] = []
        url: str | None = endpoint.tags(reference.path)
        while url is not None and len(tags) < MAX_TAGS:
            page, link = _list_page(client, endpoint, url, reference, "tags")
            tags += [tag for tag in page if isinstance(tag, str)]
            url = urljoin(url, link) if link and page else None
            if url is not None and origin(url) != endpoint.origin:
                raise Unavailable(f'Get "{url}": the list of tags goes on at another host')
        return tags

    return client.ask(act, mirrors=mirrors)


def _list_page(
    client: RegistryClient, endpoint: Endpoint, url: str, reference: Reference, key: str
) -> tuple[list[object], str | None]:
    with client.request(endpoint, "GET", url, subject=Subject(reference.familiar_name, action="list"),
                        scope=pull_scope(reference.path)) as answer:
        try:
            values = json.loads(answer.read(MAX_LIST_BODY))[key] or []
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Unavailable(f'Get "{url}": the answer is not a list') from None
        if not isinstance(values, list):
            raise Unavailable(f'Get "{url}": the answer is not a list')
        return values, next_link(answer.header("Link"))


def list_referrers(client: RegistryClient, reference: Reference, digest: Digest, artifact_type: str = "") -> Index:
    """What refers to ``digest`` (signatures, bills of materials), as an index."""

    def act(endpoint: Endpoint) -> Index:
        url = endpoint.referrers(reference.path, digest, artifact_type)
        with client.request(endpoint, "GET", url, subject=Subject(reference.familiar_name),
                            scope=pull_scope(reference.path)) as answer:
            found = manifests.parse(answer.read(MAX_MANIFEST), manifests.OCI_INDEX)
        if not isinstance(found, Index):
            raise Unavailable(f'Get "{url}": the answer is not an index')
        return found

    return client.ask(act)


def ping(client: RegistryClient) -> Endpoint:
    """Sign in (``docker login``): the endpoint that took our credentials. Raises Unauthorized."""

    def act(endpoint: Endpoint) -> Endpoint:
        subject = Subject(client.host, action="login")
        client.request(endpoint, "GET", endpoint.ping, subject=subject, scope="").discard()
        return endpoint

    return client.ask(act, mirrors=False)
