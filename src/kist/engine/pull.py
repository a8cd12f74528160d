"""Pull: registry → store. Layers side by side, each in one pass: socket → hash → inflate → hash → files.

::

    resolve the name ─▶ configuration ─▶ layers, several at once (store.assemble) ─▶ name
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from kist.api import bodies, progress
from kist.engine.config import Config
from kist.engine.views.images import check_platform
from kist.errors import EngineFailure, InvalidParameter, NotFound, Unauthorized, Unavailable
from kist.oci import image as configs
from kist.oci.chainid import chain_ids
from kist.oci.digest import Digest
from kist.oci.manifest import Descriptor
from kist.oci.platform import Platform
from kist.oci.reference import DEFAULT_DOMAIN, OFFICIAL, Reference
from kist.registry import pull as registry
from kist.registry.client import RegistryClient
from kist.registry.credentials import Credentials
from kist.registry.protocol import printable
from kist.registry.settings import ClientConfig
from kist.store import ingest
from kist.store.assemble import assemble
from kist.store.errors import DigestMismatch, DiskFull
from kist.store.images import ManifestTarget
from kist.store.store import Store

Json = dict[str, Any]
Progress = Callable[[Json], None]
PARALLEL = 3  # layers at once, as Docker's default
BAR_EVERY = 0.1  # seconds between two bars of a layer


def credentials(auth: bodies.AuthConfig | None) -> Credentials | None:
    if auth is None:
        return None
    return Credentials(auth.username, auth.password, auth.identitytoken, auth.registrytoken)


class Pull:
    def __init__(self, config: Config, store: Store) -> None:
        self._config = config
        self._store = store
        self.client_config = ClientConfig(config.registries, config.proxies, certificates=config.certificates)

    def client(self, host: str, auth: bodies.AuthConfig | None) -> RegistryClient:
        return RegistryClient(host, self.client_config, credentials(auth))

    async def run(self, reference: Reference, platform: Platform, auth: bodies.AuthConfig | None,
                  tell: Progress, *, strict: bool) -> None:
        """Get the image and name it, or all tags for a mere name. Raises with Docker's words."""
        loop = asyncio.get_running_loop()
        report = _Report(lambda message: loop.call_soon_threadsafe(tell, message))
        client = self.client(reference.domain, auth)
        cancelled = threading.Event()
        try:
            await asyncio.to_thread(self._run, reference, platform, client, report, cancelled, strict=strict)
        except (DigestMismatch, InvalidParameter, registry.VerificationFailed, DiskFull):
            # What lies or doesn't fit leaves nothing; what a broken connection left is gone on with at the next try.
            await asyncio.to_thread(self._store.gc, 0)
            raise
        except (Unavailable, NotFound, Unauthorized) as error:
            raise type(error)(error.message + hint(reference, self._config)) from None
        finally:
            cancelled.set()
            client.close()
        if strict and not reference.name_only:
            await asyncio.to_thread(self._check_platform, reference, platform)

    def _check_platform(self, reference: Reference, platform: Platform) -> None:
        """Behind the pull: a registry with one variant of an image gives it for whatever platform is asked for."""
        check_platform(reference.familiar, self._store.images.config(
            self._store.images.resolve(str(reference)).id), platform)

    def _run(self, reference: Reference, platform: Platform, client: RegistryClient, report: _Report,
             cancelled: threading.Event, *, strict: bool) -> None:
        names = [reference]
        if reference.name_only:
            names = [reference.with_tag(tag) for tag in registry.list_tags(client, reference)]
        new = False
        for name in names:
            new |= self._get(name, platform, client, report, cancelled, strict=strict)
        word = "Downloaded newer image for" if new else "Image is up to date for"
        report(progress.status(f"Status: {word} {reference.familiar}"))

    def _get(self, reference: Reference, platform: Platform, client: RegistryClient, report: _Report,
             cancelled: threading.Event, *, strict: bool) -> bool:
        """One image; whether anything is new."""
        with self._store.lease():
            found = registry.resolve(reference, platform, client, strict=strict)
            shown = str(reference) if reference.digest else reference.tag or ""
            report(progress.status(f"Pulling from {reference.path}", shown))
            self._keep_documents(found)
            _check_image(found)
            config = configs.parse(self._store.content.read(found.manifest.config.digest, configs.MAX_CONFIG))
            known = self._store.images.has(found.manifest.config.digest)
            announced = set()
            for blob, chain in zip(found.manifest.layers, chain_ids(config.diff_ids), strict=False):
                if self._store.layers.has(chain):
                    if not known:
                        report(progress.step(_short(blob.digest), "Already exists"))
                else:
                    report(progress.step(_short(blob.digest), "Pulling fs layer"))
                    announced.add(blob.digest)
            layers = _Layers(found, report, cancelled, announced)
            assemble(self._store, found.manifest, config, layers.source, workers=PARALLEL, report=layers.happened)
            new = self._name(reference, found)
        report(progress.status(f"Digest: {found.top.digest}"))
        return new

    def _keep_documents(self, found: registry.Resolved) -> None:
        content = self._store.content
        for _, data in found.indexes:
            content.put(data)
        content.put(found.content)
        ingest.fetch(content, found.manifest.config, lambda offset: registry.fetch_blob(
            found, found.manifest.config, offset=offset, verify=False))

    def _name(self, reference: Reference, found: registry.Resolved) -> bool:
        images = self._store.images
        before = {image.id: set(image.names) for image in images.list()}
        target = ManifestTarget(found.descriptor.digest, found.top.digest)
        tag = str(reference.with_tag(reference.tag)) if reference.tag and not reference.digest else None
        by_digest = str(reference.with_digest(found.top.digest))
        image = images.put(tag, target, also=[by_digest], source=found.source, media_type=found.descriptor.media_type)
        wanted = tag or by_digest
        return wanted not in before.get(image.id, set())


def hint(reference: Reference, config: Config) -> str:
    """Behind the error, when docker.io didn't give it: what the local Hub has, or can make (config: `[hub]`)."""
    if reference.domain != DEFAULT_DOMAIN:
        return ""
    name, hub = reference.path.removeprefix(OFFICIAL), config.hub_url
    makes = f"`kist hub library build {name}` makes it"
    if name not in config.hub_library:
        return f"\nThe Hub at {hub} shows which images it has" if hub else ""
    if hub:
        return f"\n{name} is in Kist's library: {makes}; the Hub at {hub} shows which images it has"
    return (f"\n{name} is in Kist's library: {makes}, `kist hub` serves it, and a mirror of \"docker.io\" in the "
            "server's configuration says where to look first")


class _Layers:
    """Where the layers' bytes come from, and what is said about the announced ones. Called from several threads."""

    def __init__(self, found: registry.Resolved, report: _Report, cancelled: threading.Event,
                 announced: set[Digest]) -> None:
        self._found, self._report, self._cancelled, self._announced = found, report, cancelled, announced

    def source(self, blob: Descriptor, offset: int) -> Iterator[bytes]:
        last, got, name = 0.0, offset, _short(blob.digest)
        for chunk in self._fetch(blob, offset):
            if self._cancelled.is_set():
                raise Unavailable("the pull was cancelled")
            got += len(chunk)
            now = time.monotonic()
            if now - last >= BAR_EVERY:
                last = now
                self._report(progress.bar(name, "Downloading", got, blob.size))
            yield chunk

    def _fetch(self, blob: Descriptor, offset: int) -> Iterator[bytes]:
        try:
            yield from registry.fetch_blob(self._found, blob, offset=offset, verify=False)
        except NotFound as error:
            if not blob.is_foreign:
                raise
            # Its URLs are the image's author's word: a server that asks them would ask whatever it can reach.
            where = f"; its manifest says {printable(blob.urls[0])}" if blob.urls else ""
            raise NotFound(f"{error.message}: layer {_short(blob.digest)} is non-distributable, and is fetched from "
                           f"the registry only{where}") from None

    def happened(self, event: str, blob: Descriptor) -> None:
        if blob.digest in self._announced:
            self._report(progress.step(_short(blob.digest), _STEPS[event]))


_STEPS = {"fetched": "Download complete", "complete": "Pull complete", "exists": "Pull complete"}


class _Report:
    """Progress from any thread."""

    def __init__(self, tell: Callable[[Json], object]) -> None:
        self._tell = tell

    def __call__(self, message: Json) -> None:
        try:
            self._tell(message)
        except RuntimeError:  # the loop is closed: the server ends
            pass


def _check_image(found: registry.Resolved) -> None:
    if not found.manifest.is_image:
        raise EngineFailure(f"{found.reference.familiar} is not an image, but {found.manifest.config.media_type}")


def _short(digest: Digest) -> str:
    return digest.partition(":")[2][:12]


