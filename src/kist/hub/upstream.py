"""The pull-through cache: what a Hub hasn't got is fetched from the registry it stands in for, once.

    hub:5555/docker.io/library/redis     a repository whose first part names an upstream is its cache
    GET /v2/library/redis/…?ns=docker.io a mirror's request (containerd's and Kist's parameter): ours, else the cache
    mirror-of = "docker.io"              the same for clients that don't send the parameter

A tag is asked for again (HEAD) when it is older than ``tag-life``; when the upstream can't be reached, what
is there is given. A blob goes to the client while it comes in, and to everybody else who asks meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from kist.errors import KistError, NotFound, Unauthorized
from kist.hub.content import Content, as_referrer
from kist.hub.errors import HubError
from kist.hub.metadata import StoredManifest
from kist.oci import manifest as manifests
from kist.oci.digest import Digest
from kist.oci.manifest import Descriptor, Manifest
from kist.oci.reference import Reference
from kist.registry import pull
from kist.registry.client import RegistryClient
from kist.registry.credentials import Credentials
from kist.registry.protocol import Endpoint
from kist.registry.settings import ClientConfig

log = logging.getLogger("kist.hub")
FETCHES = 8  # blobs that are fetched side by side


@dataclass(frozen=True)
class Upstream:
    """One registry that is cached. ``alias`` is the first part of its repositories' names here."""

    alias: str
    host: str
    client: RegistryClient
    private: bool = False  # we have credentials there: what they open is not for everybody


def make_upstreams(settings: Mapping[str, Mapping[str, object]], user_agent: str) -> dict[str, Upstream]:
    """From the configuration's ``[upstreams."ALIAS"]`` tables."""
    upstreams = {}
    for alias, table in settings.items():
        rest = dict(table)
        host = str(rest.pop("host", alias))
        credentials = Credentials(str(rest.pop("username", "")), str(rest.pop("password", "")))
        config = ClientConfig.from_mapping({host: rest}, user_agent=user_agent)
        upstreams[alias] = Upstream(alias, host, RegistryClient(host, config, credentials), bool(credentials))
    return upstreams


class Fetch:
    """One blob on its way in. The bytes are in the content's upload ``upload`` up to ``offset``."""

    def __init__(self, upload: str, size: int) -> None:
        self.upload = upload
        self.size = size
        self.offset = 0
        self.error: Exception | None = None
        self.done = False
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    def advance(self, offset: int) -> None:
        with self._lock:
            self.offset = offset
            self._wake()

    def finish(self, error: Exception | None = None) -> None:
        with self._lock:
            self.done, self.error = True, error
            self._wake()

    def _wake(self) -> None:
        for loop, event in self._waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def more_than(self, offset: int) -> None:
        """Return when there are bytes behind ``offset``, or nothing more will come."""
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event)
        with self._lock:
            if self.offset > offset or self.done:
                return
            self._waiters.append(entry)
        try:
            await event.wait()
        finally:
            with self._lock:
                self._waiters.remove(entry)

    async def whole(self) -> None:
        """Return when the blob is there; raises what went wrong."""
        while not self.done:
            await self.more_than(self.offset)
        if self.error is not None:
            raise self.error


class Cache:
    """Content that may come from upstreams. All methods but the waits of Fetch run in worker threads."""

    def __init__(
        self, content: Content, upstreams: Mapping[str, Upstream], *, mirror_of: str = "", tag_life: float = 300.0
    ) -> None:
        self._content = content
        self._upstreams = dict(upstreams)
        self._mirror_of = mirror_of
        self._tag_life = tag_life
        self._fetches: dict[tuple[str, Digest], Fetch] = {}  # by upstream's alias, too: readers differ
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for upstream in self._upstreams.values():
            upstream.client.close()

    def upstream_of(self, repository: str) -> Upstream | None:
        """The registry that the repository is a cache of, None for our own repositories."""
        alias, _, rest = repository.partition("/")
        return self._upstreams.get(alias) if rest else None

    def names(self, repository: str, namespace: str) -> list[str]:
        """Where to look for ``repository``: our own one first, then the cache it may stand for."""
        if self.upstream_of(repository):
            return [repository]
        alias = namespace or self._mirror_of
        return [repository, f"{alias}/{repository}"] if alias in self._upstreams else [repository]

    # --- manifests ----------------------------------------------------------------------------------------

    def manifest(self, names: list[str], reference: str) -> tuple[str, StoredManifest]:
        """The first of the repositories ``names`` that has it, and the manifest; raises HubError."""
        problem: HubError | None = None
        for name in names:
            upstream = self.upstream_of(name)
            try:
                if upstream is None:
                    return name, self._content.manifest(name, reference)
                return name, self._cached_manifest(upstream, name, reference)
            except HubError as error:
                problem = error if problem is None or error.status != 404 else problem
        assert problem is not None
        raise problem

    def _cached_manifest(self, upstream: Upstream, name: str, reference: str) -> StoredManifest:
        have = self._have(name, reference)
        if have is not None and (":" in reference or self._is_fresh(name, reference)):
            return have
        wanted = _reference(upstream, name, reference)
        try:
            if have is not None and pull.head_manifest(upstream.client, wanted) == have.digest:
                self._tag(name, reference, have.digest)
                return have
            return self._fetch_manifest(upstream, name, wanted, reference)
        except (NotFound, Unauthorized) as error:
            raise HubError("MANIFEST_UNKNOWN", f"{upstream.host}: {error}") from None
        except KistError as error:
            if have is None:
                raise HubError("UNAVAILABLE", f"{upstream.host}: {error}") from None
            log.warning("%s: %s; giving %s as it was", upstream.host, error, name)
            return have

    def _have(self, name: str, reference: str) -> StoredManifest | None:
        try:
            return self._content.manifest(name, reference)
        except HubError:
            return None

    def _is_fresh(self, name: str, tag: str) -> bool:
        updated = self._content.metadata.tag_updated(name, tag)
        return updated is not None and self._content.metadata.clock() - updated < self._tag_life

    def _tag(self, name: str, tag: str, digest: Digest) -> None:
        metadata = self._content.metadata
        metadata.tag(metadata.ensure_repository(name), tag, digest)

    def _fetch_manifest(self, upstream: Upstream, name: str, wanted: Reference, reference: str) -> StoredManifest:
        def act(endpoint: Endpoint) -> tuple[Descriptor, bytes]:
            return pull.fetch_manifest(upstream.client, endpoint, wanted)[:2]

        descriptor, body = upstream.client.ask(act)
        return self._content.put_manifest(name, reference, body, descriptor.media_type, upstream=upstream.host)

    def tags(self, name: str) -> list[str] | None:
        """All tags that the upstream has, None where it can't be asked."""
        upstream = self.upstream_of(name)
        if upstream is None:
            return None
        try:
            return sorted(pull.list_tags(upstream.client, _reference(upstream, name, "latest")))
        except KistError as error:
            log.warning("%s: %s; listing what is here of %s", upstream.host, error, name)
            return None

    def referrers(self, names: list[str], digest: Digest, kind: str) -> Iterator[Descriptor]:
        """What refers to the digest in the first of the repositories where anything does."""
        for name in names:
            upstream = self.upstream_of(name)
            asked = self._asked_referrers(upstream, name, digest) if upstream else None
            here = (as_referrer(one) for one in self._content.metadata.referrers(name, digest))
            found = (one for one in (here if asked is None else asked) if kind in ("", one.artifact_type))
            first = next(found, None)
            if first is not None:
                return chain([first], found)
        return iter(())

    def _asked_referrers(self, upstream: Upstream, name: str, digest: Digest) -> list[Descriptor] | None:
        """None where the upstream can't be asked: then what has been pulled through is all that is known."""
        try:
            return list(pull.list_referrers(upstream.client, _reference(upstream, name, "latest"), digest).manifests)
        except NotFound:
            return self._tagged_referrers(upstream, name, digest)
        except KistError as error:
            log.warning("%s: %s; listing what is here of %s", upstream.host, error, name)
            return None

    def _tagged_referrers(self, upstream: Upstream, name: str, digest: Digest) -> list[Descriptor] | None:
        """Registries without the API have the list under a tag (distribution-spec 1.1, #referrers-tag-schema)."""
        try:
            found = self._cached_manifest(upstream, name, digest.replace(":", "-")[:128])
        except HubError:
            return None
        parsed = manifests.parse(found.content, found.media_type)
        return list(parsed.manifests) if isinstance(parsed, manifests.Index) else None

    # --- blobs ----------------------------------------------------------------------------------------------

    def blob(self, names: list[str], digest: Digest, *, for_push: bool = False) -> str | Fetch:
        """The first of the repositories that has the blob, or the fetch that brings it; raises HubError."""
        for name in names:
            if self._content.metadata.linked_size(name, digest) is not None:
                self._content.blob_size(name, digest, for_push=for_push)
                return name
            upstream = self.upstream_of(name)
            size = self._announced_size(name, digest) if upstream else None
            if upstream is not None and size is not None:
                return self._fetch_blob(upstream, name, Descriptor(digest=digest, size=size))
        raise HubError("BLOB_UNKNOWN", detail={"digest": digest})

    def _announced_size(self, name: str, digest: Digest) -> int | None:
        """What a manifest that is here says: blobs that none names are not fetched."""
        for parent in self._content.metadata.parents(name, digest):
            found = self._content.metadata.manifest(name, parent)
            parsed = manifests.parse(found.content, found.media_type) if found else None
            if isinstance(parsed, Manifest):
                for entry in parsed.blobs:
                    if entry.digest == digest:
                        return entry.size
        return None

    def _fetch_blob(self, upstream: Upstream, name: str, descriptor: Descriptor) -> str | Fetch:
        with self._lock:
            running = self._fetches.get((upstream.alias, descriptor.digest))
            if running is not None:
                return running
            if self._content.metadata.linked_size(name, descriptor.digest) is not None:
                return name  # it has just come in
            if self._content.adopt(name, descriptor.digest, f"{upstream.alias}/"):
                return name  # another repository had it
            fetch = Fetch(self._content.begin_upload(name), descriptor.size)
            self._fetches[upstream.alias, descriptor.digest] = fetch
        self._pool.submit(self._run, upstream, name, descriptor, fetch)
        return fetch

    def _run(self, upstream: Upstream, name: str, descriptor: Descriptor, fetch: Fetch) -> None:
        error: Exception | None = None
        try:
            self._receive(upstream, name, descriptor, fetch)
            self._content.finish_upload(name, fetch.upload, descriptor.digest)
        except Exception as problem:
            log.warning("%s: %s: %s", upstream.host, descriptor.digest, problem)
            error = problem
            try:
                self._content.cancel_upload(name, fetch.upload)
            except HubError:
                pass  # a wrong digest has thrown it away already
        with self._lock:
            del self._fetches[upstream.alias, descriptor.digest]
        fetch.finish(error)

    def _receive(self, upstream: Upstream, name: str, descriptor: Descriptor, fetch: Fetch) -> None:
        reference = _reference(upstream, name, "latest")

        def act(endpoint: Endpoint) -> None:
            for chunk in pull.stream_blob(upstream.client, endpoint, reference, descriptor, fetch.offset):
                fetch.advance(self._content.append(fetch.upload, fetch.offset, [chunk]))

        upstream.client.ask(act)  # which knows the endpoints that have not answered before


def _reference(upstream: Upstream, name: str, reference: str) -> Reference:
    path = name.partition("/")[2]
    if ":" in reference:
        return Reference(upstream.host, path, digest=Digest(reference))
    return Reference(upstream.host, path, tag=reference)
