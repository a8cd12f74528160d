"""A tar archive from a container → files here. The archive is hostile input.

No name in it may lead out of the target folder: every step of a path is opened by descriptor without
following links (openat, O_NOFOLLOW), so a link that the archive makes is never walked through. Only with the owners
are devices made, and set-id bits kept: else they would be the caller's own.
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile

from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Folders = dict[tuple[str, ...], tarfile.TarInfo]

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PIECE = 1 << 20
ATTRIBUTE = "SCHILY.xattr."  # of a pax header's key
_ZEROS = bytes(PIECE)
_NODES = {tarfile.FIFOTYPE: stat.S_IFIFO, tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK}


def unpack(chunks: Iterable[bytes], folder: str, first: str, name: str, *, keep_owner: bool = False) -> None:
    """Unpack into `folder`; the archive's top entry `first` becomes `name` ("": its contents land in the folder)."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    folders: Folders = {}
    try:
        with tarfile.open(fileobj=_Reader(iter(chunks)), mode="r|") as archive:  # type: ignore[call-overload]
            for entry in archive:
                parts = _renamed(entry.name, first, name)
                if parts:
                    _make(archive, entry, top, parts, first, name, keep_owner=keep_owner)
                    if entry.isdir():
                        folders[tuple(parts)] = entry
                archive.members = []  # tarfile keeps all that it has seen
        for steps, entry in reversed(folders.items()):
            _finish_folder(top, steps, entry, keep_owner=keep_owner)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:  # a time that is none, a NUL in a name
        raise CliError(f"{folder}: {error}") from None
    finally:
        os.close(top)


class _Reader:
    """Chunks as the file that tarfile reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._kept = chunks, b""

    def read(self, size: int) -> bytes:
        pieces = [self._kept]
        have = len(self._kept)
        while have < size and (chunk := next(self._chunks, b"")):
            pieces.append(chunk)
            have += len(chunk)
        data = b"".join(pieces)
        self._kept = data[size:]
        return data[:size]


def _renamed(path: str, first: str, name: str) -> list[str]:
    """The path's steps below the folder; an error for one that leads up."""
    parts = [part for part in path.split("/") if part]
    if ".." in parts:
        raise CliError(f"refusing the archive: {path} leads out of the folder")
    if parts and parts[0] in (".", first.strip("/")):
        parts[:1] = [name] if name else []
    return [part for part in parts if part != "."]


def _make(archive: tarfile.TarFile, entry: tarfile.TarInfo, top: int, parts: list[str], first: str, name: str, *,
          keep_owner: bool) -> None:
    folder = _open_folder(top, parts[:-1])
    last = parts[-1]
    try:
        if entry.isdir():
            try:
                os.mkdir(last, 0o755, dir_fd=folder)
            except FileExistsError:
                pass
            os.close(os.open(last, FOLDER, dir_fd=folder))
            return  # its mode may shut us out: that, and its time, come last
        if entry.isreg():
            _forget(last, folder)
            made = os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                           dir_fd=folder)
            _copy(archive, entry, made)
        else:
            _forget(last, folder)
            if entry.type in _NODES:
                _make_node(entry, folder, last, keep_owner=keep_owner)
            else:
                _make_link(entry, top, folder, last, first, name, keep_owner=keep_owner)
            return
        _finish(made, entry, keep_owner=keep_owner)
    finally:
        os.close(folder)


def _open_folder(top: int, parts: list[str]) -> int:
    """The folder below `top`, made where it is missing; links are not followed."""
    at = os.dup(top)
    for part in parts:
        try:
            os.mkdir(part, 0o755, dir_fd=at)
        except FileExistsError:
            pass
        try:
            below = os.open(part, FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def _forget(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


def _copy(archive: tarfile.TarFile, entry: tarfile.TarInfo, target: int) -> None:
    """Zeros become holes."""
    source, at = archive.extractfile(entry), 0
    while source is not None and (piece := source.read(PIECE)):
        if piece == _ZEROS[:len(piece)]:
            at += len(piece)
            continue
        view = memoryview(piece)
        while view:
            written = os.pwrite(target, view, at)
            at, view = at + written, view[written:]
    if os.fstat(target).st_size < at:
        os.ftruncate(target, at)


def _make_link(entry: tarfile.TarInfo, top: int, folder: int, last: str, first: str, name: str, *,
               keep_owner: bool) -> None:
    if entry.issym():
        os.symlink(entry.linkname, last, dir_fd=folder)
        if keep_owner:
            os.chown(last, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        os.utime(last, (entry.mtime, entry.mtime), dir_fd=folder, follow_symlinks=False)
    elif entry.islnk():
        target = _renamed(entry.linkname, first, name)
        if not target:
            raise CliError(f"refusing the archive: {entry.name} is a hard link to the folder itself")
        source = _open_folder(top, target[:-1])
        try:
            os.link(target[-1], last, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(source)


def _make_node(entry: tarfile.TarInfo, folder: int, last: str, *, keep_owner: bool) -> None:
    if not entry.isfifo() and not keep_owner:
        return
    os.mknod(last, _NODES[entry.type] | 0o600, os.makedev(entry.devmajor, entry.devminor), dir_fd=folder)
    _finish(os.open(last, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder), entry, keep_owner=keep_owner)


def _finish_folder(top: int, steps: tuple[str, ...], entry: tarfile.TarInfo, *, keep_owner: bool) -> None:
    above = _open_folder(top, list(steps[:-1]))
    try:
        _finish(os.open(steps[-1], FOLDER, dir_fd=above), entry, keep_owner=keep_owner)
    except NotADirectoryError:  # a later entry took its place
        pass
    finally:
        os.close(above)


def _finish(made: int, entry: tarfile.TarInfo, *, keep_owner: bool) -> None:
    """Owner, mode and time of what was just made, whatever its name leads to by now."""
    path = f"/proc/self/fd/{made}"
    try:
        if keep_owner:
            os.chown(path, entry.uid, entry.gid)
            _set_attributes(path, entry)
        os.chmod(path, entry.mode & (0o7777 if keep_owner else 0o1777))
        os.utime(path, (entry.mtime, entry.mtime))
    finally:
        os.close(made)


def _set_attributes(path: str, entry: tarfile.TarInfo) -> None:
    """The user's own attributes, where the file system has such."""
    for key, value in entry.pax_headers.items():
        name = key.removeprefix(ATTRIBUTE)
        if name != key and name.startswith("user."):
            try:
                os.setxattr(path, name, os.fsencode(value))
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
