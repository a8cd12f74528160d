"""A tar archive from a container → files here. The archive is hostile input.

No name in it may lead out of the target folder: every step of a path is opened by descriptor without
following links (openat, O_NOFOLLOW), so a link that the archive makes is never walked through. Devices and
sockets are left out.
"""

from __future__ import annotations

import os
import tarfile

from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PIECE = 1 << 20


def unpack(chunks: Iterable[bytes], folder: str, first: str, name: str, *, keep_owner: bool = False) -> None:
    """Unpack into `folder`; the archive's top entry `first` becomes `name` ("": its contents land in the folder)."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with tarfile.open(fileobj=_Reader(iter(chunks)), mode="r|") as archive:  # type: ignore[call-overload]
            for entry in archive:
                parts = _renamed(entry.name, first, name)
                if parts:
                    _make(archive, entry, top, parts, first, name, keep_owner=keep_owner)
    except (tarfile.TarError, OSError) as error:
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
            made = os.open(last, FOLDER, dir_fd=folder)
        elif entry.isreg():
            _forget(last, folder)
            made = os.open(last, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                           dir_fd=folder)
            _copy(archive, entry, made)
        else:
            _forget(last, folder)
            _make_link(entry, top, folder, last, first, name)
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
    source = archive.extractfile(entry)
    while source is not None and (piece := source.read(PIECE)):
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view):]


def _make_link(entry: tarfile.TarInfo, top: int, folder: int, last: str, first: str, name: str) -> None:
    if entry.issym():
        os.symlink(entry.linkname, last, dir_fd=folder)
    elif entry.islnk():
        target = _renamed(entry.linkname, first, name)
        source = _open_folder(top, target[:-1])
        try:
            os.link(target[-1], last, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(source)


def _finish(made: int, entry: tarfile.TarInfo, *, keep_owner: bool) -> None:
    try:
        if keep_owner:
            os.fchown(made, entry.uid, entry.gid)
        os.fchmod(made, entry.mode & (0o7777 if keep_owner else 0o777))
        os.utime(made, (entry.mtime, entry.mtime))
    finally:
        os.close(made)
