"""A file or folder here → the bytes of a tar archive, made as they are asked for."""

from __future__ import annotations

import io
import os
import stat
import tarfile

from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 20


def pack(path: str, name: str, *, attributes: bool = False) -> Iterator[bytes]:
    """`path` under the name that it gets (a folder with the name "": its contents alone); `attributes`: with the
    extended ones."""
    archive = tarfile.TarFile(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT)  # for gettarinfo
    for full, inside in _walk(path, name):
        try:
            entry = archive.gettarinfo(full, inside)
            if entry is None or not inside:  # a socket, or the top folder itself
                continue
            if attributes:
                entry.pax_headers = _attributes(full)
            yield entry.tobuf(tarfile.PAX_FORMAT)
            if entry.isreg():
                yield from _contents(full, entry.size)
        except OSError as error:
            raise CliError(f"{full}: {error.strerror}") from None
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _attributes(path: str) -> dict[str, str]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {f"SCHILY.xattr.{name}": os.fsdecode(os.getxattr(path, name, follow_symlinks=False)) for name in names
            if name.startswith(("user.", "security.capability"))}


def _walk(path: str, name: str) -> Iterator[tuple[str, str]]:
    yield path, name
    if stat.S_ISDIR(os.lstat(path).st_mode) or (path.endswith("/") and os.path.isdir(path)):
        for child in sorted(os.listdir(path)):
            yield from _walk(os.path.join(path, child), f"{name}/{child}" if name else child)


def _contents(path: str, size: int) -> Iterator[bytes]:
    """Exactly the bytes that the entry promised, whatever happens to the file meanwhile; padded."""
    left = size
    with open(path, "rb") as file:
        while left:
            piece = file.read(min(PIECE, left)) or b"\0" * min(PIECE, left)
            left -= len(piece)
            yield piece
    if size % tarfile.BLOCKSIZE:
        yield b"\0" * (tarfile.BLOCKSIZE - size % tarfile.BLOCKSIZE)
