"""Commit: what a container changed becomes a layer, and its configuration the one of a new image."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from kist.api import bodies
from kist.engine import changes as dockerfile
from kist.engine import times
from kist.engine.container import Container
from kist.engine.files import without_mount_points
from kist.engine.parts import Parts
from kist.engine.spec.mounts import MOUNT_POINTS
from kist.errors import InvalidParameter, NotFound
from kist.launcher.client import MonitorGone
from kist.oci import digest as digests
from kist.oci import reference
from kist.oci.digest import Digest
from kist.oci.image import ImageConfig
from kist.oci.manifest import Descriptor
from kist.store.compress import decompress
from kist.store.images import Image
from kist.store.make import put_manifest

Json = dict[str, Any]
# What of a container's Config describes the image and not this one container.
_OF_IMAGE = ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
             "StopTimeout", "Healthcheck", "Shell", "OnBuild")
# A tar without entries: what a container that changed nothing has for a layer. Images leave it out.
_NO_ENTRIES = bytes(1024)
EMPTY_LAYER = digests.of(_NO_ENTRIES)


class Commit:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self, container: Container, *, repo: str, tag: str, comment: str, author: str, pause: bool,
                  changes: list[str], config: bodies.ContainerConfig | None) -> str:
        """The new image's id. A running container is paused meanwhile unless told otherwise."""
        container.check("read")
        name = str(reference.parse(f"{repo}:{tag}" if tag else repo).with_default_tag()) if repo else None
        settings = {key: container.record.config[key] for key in _OF_IMAGE if container.record.config.get(key)}
        if config is not None:
            given = msgspec.to_builtins(config)
            settings |= {key: given[key] for key in _OF_IMAGE if given.get(key)}
        settings = dockerfile.apply(settings, changes)
        async with container.lock:
            async with _still(container if pause else None):
                image = await asyncio.to_thread(self._store, container, name, settings, comment, author)
        return image.id

    def _store(self, container: Container, name: str | None, settings: Json, comment: str, author: str) -> Image:
        store = self._parts.store
        record = container.record
        step: Json = {"created": times.rfc3339(times.now()), "created_by": " ".join([record.path, *record.args]),
                **({"author": author} if author else {}), **({"comment": comment} if comment else {})}
        with store.lease(), store.layer_sink() as sink:
            base, blobs = self._base(record.image_id)
            diff_ids: list[str] = list(base.diff_ids)
            if without_mount_points(store.snapshots.diff(container.id)):
                store.snapshots.commit(container.id, sink, [os.fsencode(path) for path in MOUNT_POINTS])
            else:  # at most directories that its own start has touched
                sink.write(_NO_ENTRIES)
            blob, diff_id = sink.commit()
            if diff_id == EMPTY_LAYER:
                step["empty_layer"] = True
                store.discard([blob.digest])
            else:
                diff_ids.append(diff_id)
                blobs.append(blob)
            history = [*msgspec.to_builtins(base.history or []), step]
            document = dockerfile.image_document(settings, base.platform, diff_ids, history,
                                                 author=author, comment=comment)
            target = put_manifest(store.content, document, blobs)
            if diff_ids != list(base.diff_ids):
                with store.content.open(blob.digest) as file:
                    store.layers.apply(decompress(file), diff_id, Digest(record.chain_id) if record.chain_id else None)
            return store.images.put(name, target)

    def _base(self, image_id: str) -> tuple[ImageConfig, list[Descriptor]]:
        store = self._parts.store
        try:
            found = store.images.get(Digest(image_id))
            for digest in store.images.contents(found):
                store.content.has(digest)   # held from here on, also if the image is removed meanwhile
            return store.images.config(store.images.get(found.id).id), list(store.images.manifest_of(found).layers)
        except NotFound as error:
            raise InvalidParameter(f"the image {image_id[:19]} of the container is gone") from error


@asynccontextmanager
async def _still(container: Container | None) -> AsyncIterator[None]:
    """A running container is paused meanwhile. One that ends just then writes no more, either."""
    link = container.link if container is not None and container.state == "running" else None
    try:
        if link is not None:
            await link.pause()
    except MonitorGone:
        link = None
    try:
        yield
    finally:
        if link is not None and not link.exited.done():
            with suppress(MonitorGone):
                await link.resume()
