"""Files in and out of containers: cp (archive), export, diff. All look-ups stay inside of the container's root."""

from __future__ import annotations

import asyncio
import os
import posixpath
import stat as modes
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from kist.engine import rootview
from kist.engine.container import Container
from kist.engine.filepaths import path_stat, resolved
from kist.engine.filesin import Below, guard, inside_of
from kist.engine.filesout import pack
from kist.engine.parts import Parts
from kist.engine.prepare import etc_paths
from kist.engine.records import Mount
from kist.engine.spec.mounts import MOUNT_POINTS
from kist.engine.threads import ToThread, from_thread
from kist.errors import EngineFailure, Forbidden, InvalidParameter
from kist.linux.openat2 import Root
from kist.store.compress import decompress
from kist.store.errors import InvalidLayer
from kist.store.extract import Extractor
from kist.store.tarread import Source
from kist.store.tarwrite import Sink

Json = dict[str, Any]
_KINDS = {"A": 1, "C": 0, "D": 2}  # the API's numbers of changes


async def changes(parts: Parts, container: Container) -> list[Json]:
    container.check("read")
    found = await asyncio.to_thread(parts.store.snapshots.diff, container.id)
    return [{"Path": path, "Kind": _KINDS[kind]} for kind, path in without_mount_points(found)]


def without_mount_points(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The changes without the places that start made for its own mounts, nor the directories that were touched by
    that alone (moby makes them in a layer of its own below the container's)."""
    hidden = {f"/{path}" for path in MOUNT_POINTS}
    rest = [(kind, path) for kind, path in found if not (kind == "A" and path in hidden)]
    touched = {posixpath.dirname(path) for path in hidden} - {"/"}
    return [(kind, path) for kind, path in rest
            if not (kind == "C" and path in touched and not any(other.startswith(f"{path}/") for _, other in rest))]


async def export(parts: Parts, container: Container) -> AsyncIterator[bytes]:
    container.check("read")
    parts.events.publish("container", "export", container.id, container.attributes())
    return from_thread(lambda sink: parts.store.snapshots.export(container.id, sink))


# Out


Hold = Callable[[Container, AsyncExitStack], Awaitable[None]]  # have a stopped container's volumes mounted


async def stat(parts: Parts, container: Container, path: str, hold: Hold) -> Json:
    container.check("read")

    def look() -> Json:
        with _whole(parts, container, write=False) as root:
            return path_stat(root, path, container.name)

    async with _kept(parts, container, hold, write=False):
        return await asyncio.to_thread(look)


async def get(parts: Parts, container: Container, path: str, hold: Hold) -> tuple[Json, AsyncIterator[bytes]]:
    """What `path` is, and it (with everything below) as a tar."""
    found = await stat(parts, container, path, hold)
    parts.events.publish("container", "archive-path", container.id, container.attributes())

    def write(sink: Sink) -> None:
        with _whole(parts, container, write=False) as root:
            pack(root, path, sink)

    async def pieces() -> AsyncIterator[bytes]:
        async with _kept(parts, container, hold, write=False):
            async for piece in from_thread(write):
                yield piece

    return found, pieces()


def _whole(parts: Parts, container: Container, *, write: bool) -> AbstractContextManager[Root]:
    mounts = _mounts(parts, container)
    return rootview.of_container_whole(parts.store, container, mounts, parts.places.root, write=write)


def _mounts(parts: Parts, container: Container) -> list[Mount]:
    """What is mounted on a stopped container's root for whom looks in from outside: /etc's files, binds and volumes."""
    asked = container.record.mounts
    taken = {mount.target for mount in asked}
    files = [Mount(type="bind", source=path, target=f"/etc/{name}")
             for name, path in etc_paths(parts, container).items()]
    return [*(mount for mount in files if mount.target not in taken and os.path.exists(mount.source)), *asked]


@asynccontextmanager
async def _kept(parts: Parts, container: Container, hold: Hold, *, write: bool) -> AsyncIterator[None]:
    """A stopped container isn't started meanwhile: its root is mounted for us, and what it has mounted on it."""
    async with AsyncExitStack() as undo:
        if not container.alive and (write or _mounts(parts, container)):
            await undo.enter_async_context(container.lock)
            if container.alive:  # it was just being started
                await undo.aclose()
            else:
                await hold(container, undo)
        yield


# In


async def put(parts: Parts, container: Container, path: str, chunks: AsyncIterator[bytes], *,
              no_overwrite_dir_non_dir: bool, copy_uid_gid: bool, hold: Hold) -> None:
    """Unpack a tar in the directory `path`; it is not begun unless that exists and may be written."""
    container.check("read")
    async with _kept(parts, container, hold, write=True):
        source = ToThread(chunks)
        await source.feed(asyncio.to_thread(
            lambda: _unpack(parts, container, path, source, keep_directories=no_overwrite_dir_non_dir,
                            chown=copy_uid_gid)))
    parts.events.publish("container", "extract-to-dir", container.id, container.attributes())


def _unpack(parts: Parts, container: Container, path: str, source: Source, *, keep_directories: bool,
            chown: bool) -> None:
    owner = None
    if chown and container.record.config["User"]:  # else everything keeps the owner that the archive has
        user = rootview.container_user(parts.store, container, container.record.config["User"])
        owner = (user.uid, user.gid)
    with _whole(parts, container, write=True) as root:
        with resolved(root, path.rstrip("/") + "/", container.name, folder=False) as (fd, _):
            if not modes.S_ISDIR(os.fstat(fd).st_mode):
                raise InvalidParameter("extraction point is not a directory")
            inside = inside_of(root, fd)
            _check_writable(container, "/" + os.fsdecode(inside))
        check = guard(root, f"/{os.fsdecode(inside)}") if keep_directories else None
        try:
            with Extractor(f"/proc/self/fd/{root.fd}", plain=True) as extractor:
                extractor.unpack(Below(decompress(source), inside, owner, check))
                extractor.finish([])
        except InvalidLayer as error:
            raise InvalidParameter(f"unpack in {path}: {error.message.removeprefix('invalid layer: ')}") from None
        except OSError as error:
            raise EngineFailure(f"unpack in {path}: {error.strerror or error}") from error


def _check_writable(container: Container, where: str) -> None:
    """By the mount that `where`, links resolved, lies on."""
    holding = [mount for mount in container.record.mounts
               if where == mount.target or where.startswith(mount.target + "/")]
    if holding:
        if not max(holding, key=lambda mount: len(mount.target)).rw:
            raise Forbidden("mounted volume is marked read-only")
    elif container.record.host["ReadonlyRootfs"]:
        raise Forbidden("container rootfs is marked read-only")
