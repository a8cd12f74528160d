"""Images in and out: push to a registry, save, load and import as tar files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from kist.api import bodies, progress
from kist.engine import changes as dockerfile
from kist.engine import times
from kist.engine.parts import Parts
from kist.engine.pull import Pull
from kist.engine.threads import ToThread, from_thread
from kist.engine.views.images import run_config
from kist.errors import InvalidParameter, KistError, NotFound
from kist.oci import reference
from kist.oci.image import RunConfig
from kist.oci.manifest import Descriptor
from kist.oci.platform import Platform
from kist.registry import pull as registry
from kist.registry.push import Push
from kist.store import archive
from kist.store.assemble import assemble
from kist.store.compress import decompress
from kist.store.images import Image
from kist.store.make import put_manifest

Json = dict[str, Any]
Progress = Callable[[Json], None]


class Transfer:
    def __init__(self, parts: Parts, pull: Pull) -> None:
        self._parts = parts
        self._pull = pull

    # Push

    async def push(self, name: str, tag: str, auth: bodies.AuthConfig | None, tell: Progress) -> None:
        """One tag, or all of the repository."""
        wanted = reference.parse(f"{name}:{tag}" if tag else name)
        names = await asyncio.to_thread(self._tags, wanted)
        if not names:
            raise NotFound(f"An image does not exist locally with the tag: {wanted.familiar_name}")
        loop = asyncio.get_running_loop()
        tell(progress.status(f"The push refers to repository [{wanted.name}]"))
        for one in names:
            await asyncio.to_thread(self._push, reference.parse_full(one), auth,
                                    lambda message: loop.call_soon_threadsafe(tell, message))
        self._parts.events.publish("image", "push", wanted.familiar, {"name": wanted.familiar_name})

    def _tags(self, wanted: reference.Reference) -> list[str]:
        names = {name for image in self._parts.store.images.list() for name in image.names if "@" not in name}
        if wanted.tag:
            return [str(wanted)] if str(wanted) in names else []
        return sorted(name for name in names if reference.parse_full(name).name == wanted.name)

    def _push(self, name: reference.Reference, auth: bodies.AuthConfig | None, tell: Callable[[Json], object]) -> None:
        store = self._parts.store
        image = store.images.resolve(str(name))
        manifest = store.images.manifest(image.id)
        client = self._pull.client(name.domain, auth)
        try:
            to = Push(client, name.path, familiar=name.familiar_name)
            for blob in manifest.blobs:
                self._push_blob(to, blob, tell)
            content = store.content.read(image.manifest, 4 << 20)
            digest = to.manifest(name.tag or "latest", content, image.manifest_type)
        finally:
            client.close()
        tell(progress.status(f"{name.tag}: digest: {digest} size: {len(content)}"))

    def _push_blob(self, to: Push, blob: Descriptor, tell: Callable[[Json], object]) -> None:
        name = blob.digest.partition(":")[2][:12]
        tell(progress.step(name, "Preparing"))

        def source(offset: int) -> Any:
            with self._parts.store.content.open(blob.digest) as file:
                file.seek(offset)
                while piece := file.read(1 << 18):
                    yield piece

        def sent(count: int) -> None:
            tell(progress.bar(name, "Pushing", count, blob.size))

        outcome = to.blob(blob, source, progress=sent)
        tell(progress.step(name, outcome.value))

    # Save and load

    async def save(self, names: list[str]) -> AsyncIterator[bytes]:
        def find() -> list[tuple[Image, list[str]]]:
            return [_named(self._parts.store.images.resolve(name), name) for name in names]

        found = await asyncio.to_thread(find)
        return from_thread(lambda sink: archive.save(self._parts.store, found, sink))

    async def load(self, chunks: AsyncIterator[bytes], platform: Platform, tell: Progress) -> None:
        source = ToThread(chunks)
        loading = asyncio.create_task(asyncio.to_thread(
            lambda: archive.load(self._parts.store, source, platform=platform)))
        try:
            await source.pump(loading)
            found = await loading
        finally:
            source.end()
        for loaded in found:
            for name in loaded.names:
                tell({"stream": f"Loaded image: {reference.familiar(name)}\n"})
            if not loaded.names:
                tell({"stream": f"Loaded image ID: {loaded.image.id}\n"})
            self._parts.events.publish("image", "load", loaded.image.id, {"name": loaded.image.id})

    async def import_(self, chunks: AsyncIterator[bytes], *, repo: str, tag: str, message: str, changes: list[str],
                      platform: Platform, tell: Progress) -> None:
        name = str(reference.parse(f"{repo}:{tag}" if tag else repo).with_default_tag()) if repo else None
        config = dockerfile.apply(run_config(RunConfig()), changes)
        source = ToThread(chunks)
        making = asyncio.create_task(asyncio.to_thread(
            lambda: self._import(source, name, message, config, platform)))
        try:
            await source.pump(making)
            image = await making
        finally:
            source.end()
        tell(progress.status(image.id))
        self._parts.events.publish("image", "import", image.id, {"name": name or image.id})

    def _import(self, source: ToThread, name: str | None, message: str, config: Json, platform: Platform) -> Image:
        store = self._parts.store
        with store.lease(), store.layer_sink() as sink:
            tar = decompress(source)
            while piece := tar.read(1 << 18):
                sink.write(piece)
            blob, diff_id = sink.commit()
            made = dockerfile.image_document(
                config, platform, [diff_id], [{"created": times.rfc3339(times.now()), "comment": message}])
            target = put_manifest(store.content, made, [blob])
            manifest = store.images._read_manifest(target.manifest, None)
            assemble(store, manifest, dockerfile.parse(made), _nowhere)
            return store.images.put(name, target)

    # Registries

    async def distribution(self, name: str, auth: bodies.AuthConfig | None) -> Json:
        wanted = reference.parse_tagged(name)

        def look() -> Json:
            client = self._pull.client(wanted.domain, auth)
            try:
                found = registry.resolve(wanted, None, client)
            finally:
                client.close()
            return {"Descriptor": {"mediaType": found.top.media_type, "digest": found.top.digest,
                                   "size": found.top.size}, "Platforms": []}

        return await asyncio.to_thread(look)


def _named(image: Image, name: str) -> tuple[Image, list[str]]:
    """An image and the names that are saved with it: the one that was asked for, none for an id."""
    try:
        full = str(reference.parse_tagged(name))
    except KistError:
        return image, []
    return image, [full] if full in image.names else []


def _nowhere(blob: Descriptor, offset: int) -> list[bytes]:
    raise InvalidParameter(f"layer {blob.digest} is missing")
