"""Push: store → registry. Layers side by side, each only if the registry lacks it, the manifest last.

What another repository of the same registry has already is mounted from there instead of sent.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from kist.api import bodies, progress
from kist.engine.imageevents import ImageEvents
from kist.engine.parts import Parts
from kist.engine.pull import BAR_EVERY, Pull
from kist.engine.views.images import check_platform
from kist.errors import NotFound, Unavailable
from kist.oci import manifest as manifests
from kist.oci import reference
from kist.oci.manifest import Descriptor
from kist.oci.platform import Platform
from kist.oci.reference import Reference
from kist.registry.push import Outcome, Push
from kist.store.images import Image

Json = dict[str, Any]
Tell = Callable[[Json], object]
PARALLEL = 5  # layers at once, as Docker's default
_PIECE = 1 << 20


class Pusher:
    def __init__(self, parts: Parts, pull: Pull, events: ImageEvents) -> None:
        self._events = events
        self._parts = parts
        self._store = parts.store
        self._pull = pull

    async def run(self, wanted: Reference, auth: bodies.AuthConfig | None, tell: Tell,
                  platform: Platform | None) -> None:
        """One tag, or all of the repository. Raises with Docker's words."""
        loop = asyncio.get_running_loop()
        tell(progress.status(f"The push refers to repository [{wanted.name}]"))
        cancelled = threading.Event()
        try:
            for name in await asyncio.to_thread(self._names, wanted):
                await asyncio.to_thread(self._push, name, auth, lambda said: loop.call_soon_threadsafe(tell, said),
                                        platform, cancelled)
        finally:
            cancelled.set()
        await self._events.moved("push", wanted)

    def _names(self, wanted: Reference) -> list[Reference]:
        every = [reference.parse_full(name) for image in self._store.images.list() for name in image.names]
        here = sorted((name for name in every if name.tag and name.name == wanted.name), key=str)
        if not here:
            raise NotFound(f"An image does not exist locally with the tag: {wanted.familiar_name}")
        if wanted.name_only:
            return here
        found = [name for name in here if str(name) == str(wanted)]
        if not found:
            raise NotFound(f"tag does not exist: {wanted.familiar}")
        return found

    def _push(self, name: Reference, auth: bodies.AuthConfig | None, tell: Tell, platform: Platform | None,
              cancelled: threading.Event) -> None:
        images = self._store.images
        with self._store.lease(), closing(self._pull.client(name.domain, auth)) as client:
            image = images.resolve(str(name))
            manifest, config = images.manifest(image.id), images.config(image.id)
            if platform is not None:
                check_platform(name.familiar, config, platform)
            one = _Image(self._parts, Push(client, name.path, familiar=name.familiar_name), image, name, tell,
                         cancelled)
            one.layers(list(zip(manifest.layers, config.diff_ids, strict=True)))
            one.blob(manifest.config)
            content = self._store.content.read(image.manifest, manifests.MAX_MANIFEST)
            digest = one.to.manifest(name.tag or "latest", content, image.manifest_type)
            images.tag(str(name.with_digest(digest)), image.id)
        tell(progress.status(f"{name.tag}: digest: {digest} size: {len(content)}"))
        tell({"progressDetail": {}, "aux": {"Tag": name.tag, "Digest": digest, "Size": len(content)}})


class _Image:
    """The blobs of one image on their way. Its methods are called from several threads."""

    def __init__(self, parts: Parts, to: Push, image: Image, name: Reference, tell: Tell,
                 cancelled: threading.Event) -> None:
        self.to = to
        self._store, self._tell, self._cancelled = parts.store, tell, cancelled
        self._mount_from = _neighbour(image, name)

    def layers(self, layers: list[tuple[Descriptor, str]]) -> None:
        """The uppermost is named first, as Docker does; the names are those of the uncompressed layers."""
        named = [(blob, diff_id.partition(":")[2][:12]) for blob, diff_id in reversed(layers)]
        for _, shown in named:
            self._tell(progress.step(shown, "Preparing"))
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="kist-push") as pool:
            pending = [pool.submit(self.blob, blob, shown) for blob, shown in named]
            try:
                for one in pending:
                    one.result()
            except BaseException:
                self._cancelled.set()
                raise

    def blob(self, blob: Descriptor, shown: str = "") -> None:
        """See to it that the registry has it; nothing is said of what has no name to *show*."""
        if blob.is_foreign and blob.urls:  # image-spec 1.1, layer.md#non-distributable-layers: not to be uploaded
            self._tell(progress.step(shown, "Skipped foreign layer"))
            return
        last = 0.0

        def sent(count: int) -> None:
            nonlocal last
            if shown and time.monotonic() - last >= BAR_EVERY:
                last = time.monotonic()
                self._tell(progress.bar(shown, "Pushing", count, blob.size))

        outcome = self.to.blob(blob, lambda offset: self._pieces(blob, offset), progress=sent,
                               mount_from=self._mount_from)
        if shown:
            source = f" {self._mount_from}" if outcome is Outcome.MOUNTED else ""
            self._tell(progress.step(shown, outcome.value + source))

    def _pieces(self, blob: Descriptor, offset: int) -> Iterator[bytes]:
        with self._store.content.open(blob.digest) as file:
            file.seek(offset)
            while piece := file.read(_PIECE):
                if self._cancelled.is_set():
                    raise Unavailable("the push was cancelled")
                yield piece


def _neighbour(image: Image, name: Reference) -> str:
    """Another repository of the registry that is known to have the image: it has a digest there."""
    for other in image.names:
        known = reference.parse_full(other)
        if known.digest and known.domain == name.domain and known.path != name.path:
            return known.path
    return ""
