"""Layers' files, read once from the layer's tar and kept in the metadata (the pages show them).

A layer is hostile input: at most `MAX_ENTRIES` entries and `MAX_BYTES` uncompressed bytes of it are read, nothing
of it is ever written to disk, and one layer is read at a time.
"""

from __future__ import annotations

import threading
import zlib

import msgspec
import zstandard

from kist.errors import KistError
from kist.hub.anatomy import File, Listing, clean_path
from kist.hub.content import Content
from kist.oci.digest import Digest
from kist.store.compress import decompress
from kist.store.tarformat import DIRECTORY, HARDLINK, REGULAR, SYMLINK
from kist.store.tarread import Source, TarReader

MAX_ENTRIES = 200_000
MAX_BYTES = 4 << 30
_KINDS = {REGULAR: "f", DIRECTORY: "d", SYMLINK: "l", HARDLINK: "h"}
_DECODER = msgspec.msgpack.Decoder(Listing)


class Listings:
    """Thread-safe."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._busy = threading.Lock()

    def get(self, repository: str, digest: Digest) -> Listing | None:
        """The layer's files; None where it is not a tar or the repository hasn't got it (a manifest proves nothing)."""
        if self._content.metadata.linked_size(repository, digest) is None:
            return None
        found = self._kept(digest)
        if found is not None:
            return found
        with self._busy:
            return self._kept(digest) or self._read(repository, digest)

    def _kept(self, digest: Digest) -> Listing | None:
        packed = self._content.metadata.listing(digest)
        return _DECODER.decode(zstandard.decompress(packed)) if packed is not None else None

    def _read(self, repository: str, digest: Digest) -> Listing | None:
        try:
            with self._content.open_blob(repository, digest) as file:
                listing = read_listing(file)
        except (KistError, OSError):
            return None
        self._content.metadata.keep_listing(digest, zstandard.compress(msgspec.msgpack.encode(listing), 3))
        return listing


def read_listing(source: Source, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> Listing:
    """The entries of a layer, compressed or not. Raises KistError for what is not a tar."""
    files: list[File] = []
    total = 0
    reader = TarReader(decompress(source))
    for entry in reader:
        total += entry.size + 512
        if len(files) >= max_entries or total > max_bytes:
            return Listing(files, truncated=True)
        mark = 0
        for chunk in reader.chunks():
            mark = zlib.crc32(chunk, mark)
        path = clean_path(entry.name.decode("utf-8", "replace"))
        if path:
            files.append(File(path, _KINDS.get(entry.type, "o"), entry.mode & 0o7777, entry.size, mark,
                              entry.linkname.decode("utf-8", "replace")))
    return Listing(files)
