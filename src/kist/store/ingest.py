"""A pull's one pass per layer: compressed bytes in; verified, kept, inflated, verified again, unpacked.

    source ─► content writer (hash, file) ─► inflate ─► hash (diff id) ─► files
             └──────── one thread ────────┘ └──── another ────────────┘   └ the caller's

Nothing is published before both digests are known to be right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from kist.oci.digest import Digest
from kist.oci.manifest import Descriptor
from kist.store.compress import CompressionError, decompress
from kist.store.content import DiskContent, Writer
from kist.store.errors import DigestMismatch, InvalidLayer
from kist.store.layers import Layers, Staged
from kist.store.streams import Ahead, Joined
from kist.store.tarread import CHUNK, Source

#: Gives a blob's bytes from an offset on. It may begin earlier only by raising `CannotResume`.
Fetch = Callable[[int], Iterable[bytes]]


# No honest layer inflates further: text reaches 10:1, a file of zeros 1,000:1. Small ones may be as odd as they like.
_ALWAYS_ALLOWED, _LARGEST_RATIO = 1 << 30, 200


def plausible_size(blob: Descriptor) -> int:
    """The most bytes that a layer's tar may have, judged by its compressed size."""
    return max(_ALWAYS_ALLOWED, blob.size * _LARGEST_RATIO)


class CannotResume(Exception):
    """The source can't begin in the middle."""


def fetch(content: DiskContent, blob: Descriptor, source: Fetch) -> None:
    """Get *blob* into the content store, going on where an earlier try ended; nothing if it is there."""
    with content.writer(blob.digest, blob.size) as writer:
        for _ in _arriving(writer, source):
            pass
        writer.commit()


@contextmanager
def fetch_layer(content: DiskContent, layers: Layers, blob: Descriptor, diff_id: Digest, source: Fetch, *,
                limit_bytes: int | None = None, limit_entries: int | None = None) -> Iterator[Staged]:
    """Get and unpack a layer; the result is for `Layers.publish`. A blob that is here isn't fetched.

    *limit_bytes* bounds its tar (default: what is plausible for its compressed size).
    """
    limit_bytes = plausible_size(blob) if limit_bytes is None else limit_bytes
    with ExitStack() as stack:
        with ExitStack() as pipe:
            writer = pipe.enter_context(content.writer(blob.digest, blob.size))
            arriving = pipe.enter_context(Ahead(_Tee(content, blob.digest, writer, source)))
            try:
                staged = stack.enter_context(layers.stage(decompress(arriving), diff_id, limit_bytes=limit_bytes,
                                                          limit_entries=limit_entries))
            except (CompressionError, InvalidLayer, DigestMismatch):
                # Bytes that nobody verified yet: if they aren't the blob's, that is what is wrong.
                _finish(arriving, writer)
                raise
            _finish(arriving, writer)
        # The writer is free again here: an image may have one blob twice, and is published in order.
        yield staged


def _finish(arriving: Ahead, writer: Writer) -> None:
    """What follows the compressed stream belongs to the blob, too."""
    while arriving.read(CHUNK):
        pass
    writer.commit()


class _Tee:
    """The whole blob from its beginning: what is here already from the file, then what arrives."""

    def __init__(self, content: DiskContent, digest: Digest, writer: Writer, source: Fetch) -> None:
        self._source = Joined(self._pieces(content, digest, writer, source))

    def read(self, size: int = -1, /) -> bytes:
        return self._source.read(size)

    def _pieces(self, content: DiskContent, digest: Digest, writer: Writer, source: Fetch) -> Iterator[bytes]:
        arriving = _arriving(writer, source)
        if writer.complete:
            yield from _file(content.path(digest), None)
        else:
            offset = writer.offset
            first = next(arriving, b"")
            # The source may have refused to go on in the middle: then all of it arrives again.
            if offset and writer.offset == offset:
                yield from _file(content.partial_path(digest), offset)
            yield first
        yield from arriving


def _arriving(writer: Writer, source: Fetch) -> Iterator[bytes]:
    """Write what comes, and hand it on."""
    if writer.complete:
        return
    try:
        for piece in source(writer.offset):
            writer.write(piece)
            yield piece
    except CannotResume:
        writer.restart()
        for piece in source(0):
            writer.write(piece)
            yield piece


def _file(path: str, size: int | None) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while size is None or size > 0:
            piece = file.read(CHUNK if size is None else min(CHUNK, size))
            if not piece:
                return
            size = None if size is None else size - len(piece)
            yield piece


def unpack(content: DiskContent, layers: Layers, blob: Digest, diff_id: Digest, parent: Digest | None, *,
           limit_bytes: int | None = None) -> Digest:
    """Unpack a layer whose blob is in the content store; its chain id."""
    with content.open(blob) as file:
        source: Source = decompress(file)
        return layers.apply(source, diff_id, parent, limit_bytes=limit_bytes)
