"""Images in and out as tar files (save, load, import), and what registries say without a pull."""

from __future__ import annotations

import asyncio
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple

import msgspec

from kist.api import bodies, progress
from kist.engine import changes as dockerfile
from kist.engine import times
from kist.engine.imageevents import ImageEvents
from kist.engine.parts import Parts
from kist.engine.pull import BAR_EVERY, Pull
from kist.engine.threads import ToThread, begun, from_thread
from kist.engine.views.images import check_platform, run_config
from kist.errors import InvalidParameter, KistError, NotFound, Unavailable
from kist.oci import image as configs
from kist.oci import manifest as manifests
from kist.oci import reference
from kist.oci.image import RunConfig
from kist.oci.manifest import Descriptor
from kist.oci.platform import Platform
from kist.registry import download
from kist.registry import pull as registry
from kist.registry.settings import without_password
from kist.registry.transport import Answer
from kist.store import archive
from kist.store.assemble import assemble
from kist.store.compress import decompress
from kist.store.images import Image
from kist.store.make import put_manifest
from kist.store.streams import Joined
from kist.store.tarread import Source

Json = dict[str, Any]
Progress = Callable[[Json], None]


class Transfer:
    def __init__(self, parts: Parts, pull: Pull, events: ImageEvents) -> None:
        self._parts = parts
        self._events = events
        self._pull = pull

    # Save and load

    async def save(self, names: list[str], platform: Platform | None) -> AsyncIterator[bytes]:
        found = await asyncio.to_thread(lambda: [one for name in names for one in self._all(name, platform)])
        merged: dict[str, tuple[Image, list[str]]] = {}
        for image, own in found:
            kept = merged.setdefault(image.id, (image, []))[1]
            kept += [one for one in own if one not in kept]
        for image_id in merged:
            await self._events.tell("save", image_id)
        return await begun(from_thread(lambda sink: archive.save(self._parts.store, list(merged.values()), sink)))

    def _all(self, name: str, platform: Platform | None) -> list[tuple[Image, list[str]]]:
        """What *name* means, with its names; a repository without tag means all of its tags (moby, save.go)."""
        tags: list[str] = []
        with suppress(InvalidParameter):
            wanted = reference.parse_any(name)
            if isinstance(wanted, reference.Reference) and wanted.name_only:
                tags = [one for one in self._parts.store.images.names() if one.startswith(f"{wanted.name}:")]
        return [_named(self._find(tag, platform), tag) for tag in tags or [name]]

    def _find(self, name: str, platform: Platform | None) -> Image:
        images = self._parts.store.images
        try:
            found = images.resolve(name)
        except NotFound:
            raise NotFound(f"No such image: {name}") from None
        if platform is not None:
            check_platform(name, images.config(found.id), platform)
        return found

    async def load(self, chunks: AsyncIterator[bytes], platform: Platform, tell: Progress) -> None:
        source = ToThread(chunks)
        found = await source.feed(asyncio.to_thread(
            lambda: archive.load(self._parts.store, source, platform=platform)))
        for loaded in found:
            for name in loaded.names:
                tell({"stream": f"Loaded image: {reference.familiar(name)}\n"})
            if not loaded.names:
                tell({"stream": f"Loaded image ID: {loaded.image.id}\n"})
            await self._events.tell("load", loaded.image.id)

    async def import_(self, chunks: AsyncIterator[bytes], *, url: str, repo: str, tag: str, message: str,
                      changes: list[str], platform: Platform, tell: Progress) -> None:
        """Of the bytes that come, or of what is at *url* if that is given."""
        name = str(reference.parse(f"{repo}:{tag}" if tag else repo).with_default_tag()) if repo else None
        config = dockerfile.apply(run_config(RunConfig()), changes)

        def make(source: Source) -> Image:
            return self._import(source, name, message or f"Imported from {url or '-'}", config, platform)

        image = await (self._download(url, make, tell) if url else _uploaded(chunks, make))
        tell(progress.status(image.id))
        if name:
            await self._events.tell("tag", image.id, name=reference.familiar(name))
        await self._events.tell("import", image.id)

    async def _download(self, url: str, make: Callable[[Source], Image], tell: Progress) -> Image:
        where, loop, cancelled = download.normal(url), asyncio.get_running_loop(), threading.Event()

        def work() -> Image:
            with download.opened(where, self._pull.client_config) as answer:
                loop.call_soon_threadsafe(tell, progress.status(f"Downloading from {without_password(where)}"))
                return make(Joined(_reported(answer, loop, tell, cancelled)))

        try:
            return await asyncio.to_thread(work)
        finally:
            cancelled.set()

    def _import(self, source: Source, name: str | None, message: str, config: Json, platform: Platform) -> Image:
        store = self._parts.store
        with store.lease(), store.layer_sink() as sink:
            tar = decompress(source)
            while piece := tar.read(1 << 18):
                sink.write(piece)
            blob, diff_id = sink.commit()
            made = dockerfile.image_document(
                config, platform, [diff_id], [{"created": times.rfc3339(times.now()), "comment": message}],
                comment=message)
            target = put_manifest(store.content, made, [blob])
            manifest = store.images._read_manifest(target.manifest, None)
            assemble(store, manifest, dockerfile.parse(made), _nowhere)
            return store.images.put(name, target)

    # Registries

    async def distribution(self, name: str, auth: bodies.AuthConfig | None) -> Json:
        found = await self._ask(name, auth)
        return {"Descriptor": msgspec.to_builtins(found.top), "Platforms": found.platforms}

    async def manifest(self, name: str, auth: bodies.AuthConfig | None) -> Json:
        """The document that a name leads to (an index, or a manifest), as the registry keeps it."""
        found = await self._ask(name, auth)
        descriptor = msgspec.to_builtins(found.top)
        if found.of_one:
            descriptor["platform"] = found.platforms[0]
        return {"Ref": found.reference.familiar, "Descriptor": descriptor,
                "Raw": b64encode(found.content).decode("ascii")}

    async def _ask(self, name: str, auth: bodies.AuthConfig | None) -> _Remote:
        wanted = reference.parse_tagged(name)

        def look() -> _Remote:
            with closing(self._pull.client(wanted.domain, auth)) as client:
                found = registry.resolve(wanted, None, client)
                if found.indexes:
                    content = found.indexes[0][1]
                    index = manifests.parse(content, found.top.media_type)
                    platforms = [msgspec.to_builtins(entry.platform) for entry in index.manifests
                                 if entry.platform] if isinstance(index, manifests.Index) else []
                    return _Remote(wanted, found.top, content, platforms)
                config = configs.parse(registry.read_blob(found, found.manifest.config)) \
                    if found.manifest.is_image else None
                return _Remote(wanted, found.top, found.content,
                               [msgspec.to_builtins(config.platform)] if config else [], of_one=config is not None)

        return await asyncio.to_thread(look)


async def _uploaded(chunks: AsyncIterator[bytes], make: Callable[[Source], Image]) -> Image:
    source = ToThread(chunks)
    return await source.feed(asyncio.to_thread(lambda: make(source)))


def _reported(answer: Answer, loop: asyncio.AbstractEventLoop, tell: Progress,
              cancelled: threading.Event) -> Iterator[bytes]:
    """The pieces of a download as they come, and word of how far it is."""
    got, last, total = 0, 0.0, answer.length
    for piece in answer.chunks():
        if cancelled.is_set():
            raise Unavailable("the import was cancelled")
        got += len(piece)
        if time.monotonic() - last >= BAR_EVERY:
            last = time.monotonic()
            loop.call_soon_threadsafe(tell, progress.bar("", "Importing", got, total or 0))
        yield piece
    if total is not None and got < total:
        raise Unavailable(f"unexpected EOF: {got} of {total} bytes came")


class _Remote(NamedTuple):
    """What a registry has under a name."""

    reference: reference.Reference
    top: Descriptor
    content: bytes
    platforms: list[Json]
    of_one: bool = False    # an image's manifest, no list



def _named(image: Image, name: str) -> tuple[Image, list[str]]:
    """An image and the names that are saved with it: the one that was asked for, none for an id."""
    try:
        full = str(reference.parse_tagged(name))
    except KistError:
        return image, []
    return image, [full] if full in image.names else []


def _nowhere(blob: Descriptor, offset: int) -> list[bytes]:
    raise InvalidParameter(f"layer {blob.digest} is missing")
