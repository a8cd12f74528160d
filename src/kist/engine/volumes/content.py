"""Whole volumes in and out: export, import, snapshot, restore.

Nothing is half-visible: what a volume is to hold is made aside and takes its place by one rename::

    volumes.new/<random>/   _data  [quota.img]  volume.json  [paused: the containers that wait for a copy]
          │ rename (new), renameat2(RENAME_EXCHANGE) (there already)
          ▼
    volumes/<name>/

A server that was killed meanwhile leaves the old or the new; `recover` clears the rest. Only a volume that lies
elsewhere (type=…: bind, nfs, tmpfs) is written where it is.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

import msgspec

from kist.engine import states
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.engine.records import VolumeRecord
from kist.engine.threads import ToThread, from_thread
from kist.engine.volumes import driver
from kist.engine.volumes.copyup import Copier
from kist.engine.volumes.use import VolumeUse
from kist.errors import EngineFailure, InvalidParameter, KistError
from kist.launcher.client import LaunchError
from kist.linux.rename import exchange
from kist.linux.sync import syncfs
from kist.store import tree
from kist.store.compress import decompress
from kist.store.errors import InvalidLayer
from kist.store.extract import Extractor
from kist.store.tarformat import DIRECTORY, Entry
from kist.store.tarread import TarReader
from kist.store.tarwrite import Sink, TarWriter

_PATH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Copied(NamedTuple):
    """Files whose blocks are shared with the original, and files that were copied."""

    cloned: int
    copied: int


class VolumeContent:
    def __init__(self, parts: Parts, use: VolumeUse) -> None:
        self._parts = parts
        self._use = use

    # Out

    async def export(self, record: VolumeRecord) -> AsyncIterator[bytes]:
        async with self._use.using(record) as path:
            async for piece in from_thread(lambda sink: _pack(path, sink)):
                yield piece

    # In. The caller sees to it that nobody uses the volume, and keeps others from it.

    async def unpack(self, record: VolumeRecord, chunks: AsyncIterator[bytes], *, new: bool) -> None:
        """A tar (also a compressed one) into the volume, over what it holds."""
        source = ToThread(chunks)
        await source.feed(self._unpack(record, source, new=new))

    async def _unpack(self, record: VolumeRecord, source: ToThread, *, new: bool) -> None:
        if not new and driver.is_elsewhere(record.options):
            async with self._use.using(record) as path:
                try:
                    await asyncio.to_thread(_extract, path, source)
                except KistError as error:
                    kind = InvalidParameter if isinstance(error, InvalidParameter) else EngineFailure
                    where = (record.options or {})["type"]
                    raise kind(f"{error.message} (volume {record.name} lies elsewhere, type={where}: what was unpacked "
                               "until then stays in it)") from error
            return

        def work() -> None:
            with self._staged(record) as stage:
                if not new:
                    self._copy(record, stage, Copier())
                with _opened(record, stage) as path:
                    _extract(path, source)
                self._publish(record, stage)

        await asyncio.to_thread(work)

    async def snapshot(self, record: VolumeRecord, made: VolumeRecord, users: list[Container]) -> Copied:
        """`made` becomes a volume of its own with the content of `record` at one moment; its running `users` wait."""
        copier = Copier()
        async with self._use.using(record):
            stage = self._new_stage()
            try:
                async with self._paused(users, stage):
                    await asyncio.to_thread(self._take, record, made, stage, copier)
                await asyncio.to_thread(self._publish, made, stage)
            finally:
                await asyncio.to_thread(self._discard, stage)
        return Copied(copier.cloned, copier.copied)

    def _take(self, record: VolumeRecord, made: VolumeRecord, stage: str, copier: Copier) -> None:
        self._furnish(made, stage, image=not driver.quota(record.options))
        self._copy(record, stage, copier, into=made)

    async def restore(self, record: VolumeRecord, source: VolumeRecord) -> Copied:
        """The content of `source` in place of the volume's own."""
        copier = Copier()

        def work() -> None:
            same = driver.quota(record.options) == driver.quota(source.options)
            with self._staged(record, image=not same) as stage:
                self._copy(source, stage, copier, into=record)
                self._publish(record, stage)

        async with self._use.using(source):
            await asyncio.to_thread(work)
        return Copied(copier.cloned, copier.copied)

    def make(self, record: VolumeRecord) -> None:
        """A new volume with a file system of its own, complete or not there at all. Blocking."""
        with self._staged(record, image=True) as stage:
            self._publish(record, stage)

    # Stages. Blocking.

    def _new_stage(self) -> str:
        stage = os.path.join(self._use.staging, secrets.token_hex(8))
        os.mkdir(stage, 0o711)
        os.mkdir(f"{stage}/_data", 0o755)
        return stage

    @contextmanager
    def _staged(self, record: VolumeRecord, *, image: bool = False) -> Iterator[str]:
        """A stage; what is still in it at the end goes."""
        stage = self._new_stage()
        try:
            self._furnish(record, stage, image=image)
            yield stage
        finally:
            self._discard(stage)

    def _furnish(self, record: VolumeRecord, stage: str, *, image: bool) -> None:
        with open(f"{stage}/volume.json", "wb") as file:
            file.write(msgspec.json.encode(record))
        if image and driver.quota(record.options):
            driver.make_image(f"{stage}/quota.img", record.options or {}, record.name)

    def _discard(self, stage: str) -> None:
        driver.unmount(f"{stage}/_data")
        self._parts.places.trash.throw(stage)

    def _copy(self, record: VolumeRecord, stage: str, copier: Copier, into: VolumeRecord | None = None) -> None:
        """What `record` holds: its image as a file where both have the same bound, else file by file."""
        into = into or record
        quota, wanted = driver.quota(record.options), driver.quota(into.options)
        try:
            if quota and quota == wanted:
                _copy_image(self._use.data(record.name), self._use.image(record.name), f"{stage}/quota.img", copier)
                return
            if wanted and not os.path.exists(f"{stage}/quota.img"):
                driver.make_image(f"{stage}/quota.img", into.options or {}, into.name)
            with _opened(into, stage) as path:
                source = os.open(self._use.data(record.name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    copier.tree(source, path)
                finally:
                    os.close(source)
        except OSError as error:
            raise EngineFailure(f"copy volume {record.name}: {error.strerror}") from error

    def _publish(self, record: VolumeRecord, stage: str) -> None:
        """All of it on the disk, then under its name."""
        home = self._use.home(record.name)
        try:
            fd = os.open(stage, _PATH & ~os.O_PATH)
            try:
                syncfs(fd)
            finally:
                os.close(fd)
            if os.path.lexists(home):
                exchange(stage, home)
            else:
                os.rename(stage, home)
        except OSError as error:
            raise EngineFailure(f"publish volume {record.name}: {error.strerror}") from error

    # Containers that wait

    @asynccontextmanager
    async def _paused(self, users: list[Container], stage: str) -> AsyncIterator[None]:
        """Running containers stand still meanwhile. Which ones is on record: a new server lets them go on."""
        still: list[Container] = []
        try:
            for container in sorted(users, key=lambda one: one.id):
                await container.lock.acquire()
                still.append(container)
            running = [one for one in still if one.state == states.RUNNING and one.link is not None]
            if running:
                with open(f"{stage}/paused", "w", encoding="ascii") as file:
                    file.write("\n".join(one.id for one in running))
            for one in running:
                await _ask(one, pause=True)
            try:
                yield
            finally:
                for one in running:
                    await _ask(one, pause=False)
                if running:
                    os.unlink(f"{stage}/paused")
        finally:
            for container in still:
                container.lock.release()

    async def recover(self) -> None:
        """Let go on what a killed server had paused, and clear what it had begun."""
        for name in os.listdir(self._use.staging):
            stage = os.path.join(self._use.staging, name)
            try:
                with open(f"{stage}/paused", encoding="ascii") as file:
                    waiting = file.read().split()
            except FileNotFoundError:
                waiting = []
            for container_id in waiting:
                container = self._parts.register.find(container_id)
                if container is not None and container.state == states.PAUSED and container.link is not None:
                    await _ask(container, pause=False)
                    container.record.state = states.RUNNING
                    self._parts.records.save(container.record)
            await asyncio.to_thread(self._discard, stage)


async def _ask(container: Container, *, pause: bool) -> None:
    link = container.link
    if link is None or link.exited.done():
        return
    try:
        await (link.pause() if pause else link.resume())
    except (OSError, LaunchError) as error:
        if not link.exited.done():
            raise EngineFailure(f"cannot {'pause' if pause else 'unpause'} container {container.id}: {error}") from None


@contextmanager
def _opened(record: VolumeRecord, stage: str) -> Iterator[str]:
    """Where the content of a staged volume is written."""
    path = f"{stage}/_data"
    if not driver.quota(record.options):
        yield path
        return
    driver.mount(path, f"{stage}/quota.img", record.options or {})
    try:
        yield path
    finally:
        driver.unmount(path)


def _copy_image(mounted: str, image: str, target: str, copier: Copier) -> None:
    """The file under a volume's file system, everything written first that is only in memory."""
    fd = os.open(mounted, _PATH & ~os.O_PATH)
    try:
        syncfs(fd)
    finally:
        os.close(fd)
    source = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        copier.file(source, made)
    finally:
        os.close(source)
        os.close(made)


def _pack(path: str, sink: Sink) -> None:
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        info = os.fstat(root)
        writer = TarWriter(sink)
        writer.add(Entry(b"./", DIRECTORY, mode=info.st_mode & 0o7777, uid=info.st_uid, gid=info.st_gid,
                         mtime=info.st_mtime_ns))
        tree.export(root, writer, sparse=True)
        writer.close()
    finally:
        os.close(root)


def _extract(path: str, source: ToThread) -> None:
    """The archive is a stranger's: every path is looked up inside of the volume, entries are counted."""
    try:
        with Extractor(path, plain=True) as extractor:
            extractor.unpack(TarReader(decompress(source), sparse=True))
            extractor.finish([])
    except InvalidLayer as error:
        words = error.message.removeprefix("invalid layer: ").replace("outside of the layer", "outside of the volume")
        raise InvalidParameter(words) from None
