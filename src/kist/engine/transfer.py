"""Images in and out: push to a registry, save, load and import as tar files."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable
from typing import Any

from kist.api import bodies, progress
from kist.engine import changes as dockerfile
from kist.engine import times
from kist.engine.parts import Parts
from kist.engine.pull import Pull
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
PIECES = 16  # pieces that may wait between a thread and the loop


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


class ToThread:
    """An async stream of bytes as a file for a thread. `pump` runs in the loop while the thread reads."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(PIECES)
        self._rest = b""
        self._over = False

    async def pump(self, reader: asyncio.Task[Any]) -> None:
        """Feed until the stream or the reader ends."""
        try:
            async for chunk in self._chunks:
                if chunk and not await self._put(chunk, reader):
                    return
        except Exception as error:
            await self._put(error, reader)
        await self._put(b"", reader)

    async def _put(self, item: bytes | BaseException, reader: asyncio.Task[Any]) -> bool:
        while not reader.done():
            try:
                self._queue.put_nowait(item)
                return True
            except queue.Full:
                await asyncio.sleep(0.002)
        return False

    def end(self) -> None:
        """Wake a reader that is still waiting; it sees the end."""
        self._over = True
        try:
            self._queue.put_nowait(b"")
        except queue.Full:
            pass

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest and not self._over:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            if not item:
                self._over = True
            self._rest = item
        if size < 0:
            rest = [self._rest]
            self._rest = b""
            while piece := self.read(1 << 18):
                rest.append(piece)
            return b"".join(rest)
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


class _Gone(Exception):
    """Nobody reads any more."""


class _QueueSink:
    """Hands on what a thread writes, in pieces of a fair size; waits while the reader is behind."""

    def __init__(self, loop: asyncio.AbstractEventLoop, out: asyncio.Queue[bytes | BaseException | None]) -> None:
        self._loop, self._out = loop, out
        self._pending = bytearray()
        self.closed = False

    def write(self, data: bytes | memoryview, /) -> int:
        self._pending += data
        if len(self._pending) >= 1 << 17:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._pending:
            piece, self._pending = bytes(self._pending), bytearray()
            self.send(piece)

    def send(self, item: bytes | BaseException | None) -> None:
        if self.closed:
            raise _Gone
        asyncio.run_coroutine_threadsafe(self._out.put(item), self._loop).result()


async def from_thread(write: Callable[[_QueueSink], object]) -> AsyncIterator[bytes]:
    """What `write` writes to its sink in a thread, as an async stream; its error is raised here."""
    out: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue(PIECES)
    sink = _QueueSink(asyncio.get_running_loop(), out)

    def work() -> None:
        try:
            write(sink)
            sink.flush()
            sink.send(None)
        except _Gone:
            pass
        except Exception as error:
            if not sink.closed:
                sink.send(error)

    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        while (item := await out.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        sink.closed = True
        while not out.empty():  # let a writer that waits go on, and see that nobody reads
            out.get_nowait()
        await asyncio.wait({asyncio.ensure_future(running)}, timeout=5)
