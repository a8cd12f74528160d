"""Files in and out of containers: cp (archive), export, diff. All look-ups stay inside of the container's root."""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import stat as modes
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from kist.engine import rootview, times
from kist.engine.container import Container
from kist.engine.parts import Parts
from kist.engine.prepare import etc_paths
from kist.engine.records import Mount
from kist.engine.spec.mounts import MOUNT_POINTS
from kist.engine.threads import ToThread, from_thread
from kist.errors import EngineFailure, Forbidden, InvalidParameter, NotFound
from kist.linux.openat2 import Root
from kist.store import tree
from kist.store.compress import decompress
from kist.store.errors import InvalidLayer
from kist.store.extract import Extractor
from kist.store.tarformat import BLOCKDEV, CHARDEV, DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK, Entry, show
from kist.store.tarread import Source, TarReader
from kist.store.tarwrite import Sink, TarWriter

Json = dict[str, Any]
_KINDS = {"A": 1, "C": 0, "D": 2}  # the API's numbers of changes
_CHUNK = 1 << 18
_NODES = {modes.S_IFIFO: FIFO, modes.S_IFCHR: CHARDEV, modes.S_IFBLK: BLOCKDEV}
# Go's os.FileMode bits for what is no plain file.
_GO_MODES = ((modes.S_ISDIR, 1 << 31), (modes.S_ISLNK, 1 << 27), (modes.S_ISFIFO, 1 << 25), (modes.S_ISSOCK, 1 << 24),
             (modes.S_ISBLK, 1 << 26), (modes.S_ISCHR, (1 << 26) | (1 << 21)))
_GO_BITS = ((modes.S_ISUID, 1 << 23), (modes.S_ISGID, 1 << 22), (modes.S_ISVTX, 1 << 20))


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


# What is wrong with the path itself, whatever the container holds.
_PATH_ERRORS = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})


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


def path_stat(root: Root, path: str, container: str) -> Json:
    """The API's ContainerPathStat. A link as last component is not followed unless a slash comes after it."""
    with _resolved(root, path, container) as (fd, _):
        info = os.fstat(fd)
        target = ""
        if modes.S_ISLNK(info.st_mode):
            link = os.readlink("", dir_fd=fd)
            target = posixpath.normpath(posixpath.join(posixpath.dirname(_plain(path)), link))
    return {"name": base_name(path), "size": info.st_size, "mode": go_mode(info.st_mode),
            "mtime": times.rfc3339(info.st_mtime_ns), "linkTarget": target}


def go_mode(mode: int) -> int:
    found = mode & 0o777
    for test, bits in _GO_MODES:
        found |= bits if test(mode) else 0
    for bit, bits in _GO_BITS:
        found |= bits if mode & bit else 0
    return found


def base_name(path: str) -> str:
    """The first part of the archive's names: `b` of /a/b, `.` of /a/. and `/` of the root."""
    if path.endswith("/.") or path == ".":
        return "."
    return "/" if _plain(path) == "/" else posixpath.basename(_plain(path))


def pack(root: Root, path: str, sink: Sink) -> None:
    with _resolved(root, path, "") as (fd, name):
        info = os.fstat(fd)
        if modes.S_ISDIR(info.st_mode):
            writer: TarWriter = _Rebased(sink, name)
            writer.add(_entry(b"", DIRECTORY, info))
            with _reopened(fd, os.O_RDONLY | os.O_DIRECTORY) as directory:
                tree.export(directory, writer, kernels=False)
        else:
            writer = TarWriter(sink)
            _pack_file(fd, name, info, writer)
        writer.close()


def _pack_file(fd: int, name: str, info: os.stat_result, writer: TarWriter) -> None:
    raw = os.fsencode(name)
    if modes.S_ISLNK(info.st_mode):
        entry = _entry(raw, SYMLINK, info)
        entry.linkname = os.fsencode(os.readlink("", dir_fd=fd))
        writer.add(entry)
    elif modes.S_ISREG(info.st_mode):
        with _reopened(fd, os.O_RDONLY) as file:
            entry = _entry(raw, REGULAR, info)
            entry.size = left = os.fstat(file).st_size
            writer.add(entry)
            while left:
                piece = os.read(file, min(left, _CHUNK)) or bytes(min(left, _CHUNK))
                writer.write(piece)
                left -= len(piece)
    elif modes.S_IFMT(info.st_mode) in _NODES:
        entry = _entry(raw, _NODES[modes.S_IFMT(info.st_mode)], info)
        entry.major, entry.minor = os.major(info.st_rdev), os.minor(info.st_rdev)
        writer.add(entry)
    else:
        raise InvalidParameter(f"{name}: sockets have no place in an archive")


def _entry(name: bytes, kind: bytes, info: os.stat_result) -> Entry:
    return Entry(name, kind, mode=modes.S_IMODE(info.st_mode), uid=info.st_uid, gid=info.st_gid,
                 mtime=info.st_mtime_ns)


class _Rebased(TarWriter):
    """Puts all names below another one."""

    def __init__(self, sink: Sink, base: str) -> None:
        super().__init__(sink)
        self._base = b"" if base == "/" else os.fsencode(base)

    def add(self, entry: Entry) -> None:
        below = self._base + b"/" + entry.name if entry.name else self._base or b"/"
        entry.name = below
        if entry.type == HARDLINK:
            entry.linkname = self._base + b"/" + entry.linkname
        super().add(entry)


# In


async def put(parts: Parts, container: Container, path: str, chunks: AsyncIterator[bytes], *,
              no_overwrite_dir_non_dir: bool, copy_uid_gid: bool, hold: Hold) -> None:
    """Unpack a tar in the directory `path`; it is not begun unless that exists and may be written."""
    container.check("read")
    async with _kept(parts, container, hold, write=True):
        source = ToThread(chunks)
        writing = asyncio.create_task(asyncio.to_thread(
            lambda: _unpack(parts, container, path, source, keep_directories=no_overwrite_dir_non_dir,
                            chown=copy_uid_gid)))
        try:
            await source.pump(writing)
            await writing
        finally:
            source.end()
            await asyncio.wait({writing})
    parts.events.publish("container", "extract-to-dir", container.id, container.attributes())


def _unpack(parts: Parts, container: Container, path: str, source: Source, *, keep_directories: bool,
            chown: bool) -> None:
    owner = None
    if chown and container.record.config["User"]:  # else everything keeps the owner that the archive has
        user = rootview.container_user(parts.store, container, container.record.config["User"])
        owner = (user.uid, user.gid)
    with _whole(parts, container, write=True) as root:
        with _resolved(root, path.rstrip("/") + "/", container.name, folder=False) as (fd, _):
            if not modes.S_ISDIR(os.fstat(fd).st_mode):
                raise InvalidParameter("extraction point is not a directory")
            inside = _inside(root, fd)
            _check_writable(container, "/" + os.fsdecode(inside))
        check = _guard(root, f"/{os.fsdecode(inside)}") if keep_directories else None
        try:
            with Extractor(f"/proc/self/fd/{root.fd}", plain=True) as extractor:
                extractor.unpack(_Below(decompress(source), inside, owner, check))
                extractor.finish([])
        except InvalidLayer as error:
            raise InvalidParameter(f"unpack in {path}: {error.message.removeprefix('invalid layer: ')}") from None
        except OSError as error:
            raise EngineFailure(f"unpack in {path}: {error.strerror or error}") from error


def _inside(root: Root, fd: int) -> bytes:
    """The path of a directory below the root, links resolved."""
    base, full = os.readlink(f"/proc/self/fd/{root.fd}"), os.readlink(f"/proc/self/fd/{fd}")
    return os.fsencode(full[len(base.rstrip("/")):].strip("/") if full.startswith(base) else full.strip("/"))


class _Below(TarReader):
    """A tar whose entries are placed below a directory of the root."""

    def __init__(self, source: Source, inside: bytes, owner: tuple[int, int] | None,
                 check: Callable[[Entry], None] | None) -> None:
        super().__init__(source, sparse=True)
        self._inside, self._owner, self._check = inside, owner, check

    def next(self) -> Entry | None:
        entry = super().next()
        if entry is None:
            return None
        entry.name = self._below(entry.name)
        if entry.type == HARDLINK:
            entry.linkname = self._below(entry.linkname)
        if self._owner is not None:
            entry.uid, entry.gid = self._owner
        if self._check is not None:
            self._check(entry)
        return entry

    def _below(self, name: bytes) -> bytes:
        """The path in the root that a name means; never above the directory."""
        parts: list[bytes] = []
        for part in name.split(b"/"):
            if part == b".." and not parts:
                raise InvalidParameter(f'"{show(name)}" is outside of "/{show(self._inside)}"')
            if part == b"..":
                parts.pop()
            elif part not in (b"", b"."):
                parts.append(part)
        return b"/".join([self._inside, *parts] if self._inside else parts) or b"."


def _guard(root: Root, where: str) -> Callable[[Entry], None]:
    """noOverwriteDirNonDir: directories and other files don't replace each other when an archive is unpacked
    in ``where``."""

    def check(entry: Entry) -> None:
        name = os.fsdecode(entry.name)
        try:
            there = root.stat(name, follow=False)
        except OSError:
            return
        if modes.S_ISDIR(there.st_mode) and entry.type != DIRECTORY:
            raise InvalidParameter(f'cannot overwrite directory "/{name}" with non-directory "{where}"')
        if not modes.S_ISDIR(there.st_mode) and entry.type == DIRECTORY:
            raise InvalidParameter(f'cannot overwrite non-directory "/{name}" with directory "{where}"')

    return check


def _check_writable(container: Container, where: str) -> None:
    """By the mount that `where`, links resolved, lies on."""
    holding = [mount for mount in container.record.mounts
               if where == mount.target or where.startswith(mount.target + "/")]
    if holding:
        if not max(holding, key=lambda mount: len(mount.target)).rw:
            raise Forbidden("mounted volume is marked read-only")
    elif container.record.host["ReadonlyRootfs"]:
        raise Forbidden("container rootfs is marked read-only")


# Below


def _plain(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _shown(path: str) -> str:
    return path.rstrip("/") or "/"


@contextmanager
def _resolved(root: Root, path: str, container: str, *, folder: bool = True) -> Iterator[tuple[int, str]]:
    """An O_PATH descriptor of what `path` means and the name it goes by in an archive. ``folder``: a path that ends
    as a directory's must be one."""
    follow = path.endswith(("/", "/."))
    try:
        fd = root.resolve(_plain(path), follow=follow)
    except FileNotFoundError:
        raise NotFound(f"Could not find the file {_shown(path)} in container {container}") from None
    except NotADirectoryError:
        raise InvalidParameter(f"lstat {path}: not a directory" if folder else
                               "extraction point is not a directory") from None
    except OSError as error:
        kind = InvalidParameter if error.errno in _PATH_ERRORS else EngineFailure
        raise kind(f"{path}: {error.strerror}") from None
    try:
        if folder and follow and _plain(path) != "/" and not modes.S_ISDIR(os.fstat(fd).st_mode):
            raise InvalidParameter(f"lstat {path}: not a directory")
        yield fd, base_name(path)
    finally:
        os.close(fd)


@contextmanager
def _reopened(fd: int, flags: int) -> Iterator[int]:
    """An O_PATH descriptor opened for real; the file itself was resolved safely already."""
    opened = os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)


