"""Images in a single tar file, as `docker save` and OCI tools write it.

    oci-layout       {"imageLayoutVersion": "1.0.0"}                  image-spec 1.1, image-layout.md
    index.json       names (annotations) → manifests
    blobs/sha256/…   manifests, configurations, layers
    manifest.json    Docker's own list: [{"Config": path, "RepoTags": […], "Layers": [path, …]}]

Written with both lists, so that old and new readers are content. Read from a stream, in any order, with
either list; older Docker archives keep layers as ``<id>/layer.tar``, sometimes as a link to another one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from kist.errors import InvalidParameter
from kist.oci import digest as digests
from kist.oci import image as configs
from kist.oci import manifest as manifests
from kist.oci import reference
from kist.oci.digest import Digest
from kist.oci.manifest import Descriptor, Index, Manifest
from kist.oci.platform import Platform
from kist.store.assemble import assemble
from kist.store.compress import decompress
from kist.store.content import DiskContent
from kist.store.errors import InvalidArchive
from kist.store.images import Image, ManifestTarget
from kist.store.make import put_manifest
from kist.store.store import Store
from kist.store.streams import Bounded
from kist.store.tarformat import DIRECTORY, HARDLINK, REGULAR, SYMLINK, Entry
from kist.store.tarread import CHUNK, Source, TarError, TarReader
from kist.store.tarwrite import Sink, TarWriter

#: Containerd's annotation for an image's full name; the standard one holds only a tag, often.
NAME_ANNOTATION = "io.containerd.image.name"
REF_ANNOTATION = "org.opencontainers.image.ref.name"

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
#: Documents up to this size are kept in memory, together at most `_ALL_DOCUMENTS`; larger files are layers.
_DOCUMENT = configs.MAX_CONFIG
_ALL_DOCUMENTS = 64 << 20
_MAX_ENTRIES = 100_000


class DockerImage(msgspec.Struct, rename="pascal"):
    """One image in ``manifest.json``."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


class Loaded(NamedTuple):
    """An image that came out of an archive, and the full names that the archive gives it."""

    image: Image
    names: list[str]


# -- writing ---------------------------------------------------------------------------------------------


def save(store: Store, images: Iterable[tuple[Image, list[str]]], sink: Sink) -> None:
    """Write *images*, each with its (full) names, as one archive."""
    with store.lease():
        wanted = list(images)
        for image, _ in wanted:
            for digest in store.images.contents(image):
                store.content.has(digest)   # held from here on, also if the image is removed meanwhile
            store.images.get(image.id)
        _save(store, wanted, sink)


def _save(store: Store, images: Iterable[tuple[Image, list[str]]], sink: Sink) -> None:
    writer = TarWriter(sink)
    blobs: dict[Digest, None] = {}
    docker: list[dict[str, object]] = []
    entries: list[Descriptor] = []
    for image, names in images:
        manifest = store.images.manifest_of(image)
        blobs |= dict.fromkeys([image.manifest, *(blob.digest for blob in manifest.blobs)])
        docker.append({"Config": _blob_path(image.id), "RepoTags": [reference.familiar(n) for n in names],
                       "Layers": [_blob_path(blob.digest) for blob in manifest.layers]})
        entries += _index_entries(store, image, names)
    for name in ("blobs", "blobs/sha256"):
        writer.add(Entry(name.encode(), DIRECTORY, mode=0o755))
    for digest in sorted(blobs):
        _add_blob(store, digest, writer)
    index = Index(schema_version=2, media_type=manifests.OCI_INDEX, manifests=entries)
    for name, data in (("index.json", manifests.encode(index)), ("manifest.json", msgspec.json.encode(docker)),
                       ("oci-layout", _LAYOUT)):
        writer.add(Entry(name.encode(), size=len(data)))
        writer.write(data)
    writer.close()


def _index_entries(store: Store, image: Image, names: list[str]) -> list[Descriptor]:
    size = store.content.size(image.manifest)
    every: list[dict[str, str] | None] = [
        {NAME_ANNOTATION: name, REF_ANNOTATION: reference.parse_full(name).tag or ""} for name in names]
    return [Descriptor(media_type=image.manifest_type, digest=image.manifest, size=size, annotations=annotations)
            for annotations in every or [None]]


def _add_blob(store: Store, digest: Digest, writer: TarWriter) -> None:
    writer.add(Entry(_blob_path(digest).encode(), size=store.content.size(digest)))
    with store.content.open(digest) as file:
        while piece := file.read(CHUNK):
            writer.write(piece)


def _blob_path(digest: Digest) -> str:
    return f"blobs/{digests.algorithm(digest)}/{digests.encoded(digest)}"


# -- reading ---------------------------------------------------------------------------------------------


def load(store: Store, stream: Source, *, platform: Platform, limit_bytes: int | None = None,
         report: Callable[[str], None] = lambda _name: None) -> list[Loaded]:
    """Store all images of an archive, compressed or not; raises `InvalidArchive` and the layers' errors.

    Of images for several platforms *platform*'s is taken. *report* is told of every layer that is stored.
    """
    files = _Files(store.content, report)
    try:
        with store.lease():
            source = decompress(stream)
            files.take_all(source if limit_bytes is None else Bounded(source, limit_bytes, "archive"))
            found = _from_index(store, files, platform) or _from_docker(store, files)
            if not found:
                raise InvalidArchive("invalid archive: neither index.json nor manifest.json names an image")
            return found
    except TarError as error:
        store.discard(files.stored.values())
        raise InvalidArchive(f"invalid archive: {error}") from None
    except BaseException:
        store.discard(files.stored.values())
        raise


class _Files:
    """The archive's files: documents in memory, blobs and layers in the content store."""

    def __init__(self, content: DiskContent, report: Callable[[str], None]) -> None:
        self._content, self._report = content, report
        self.documents: dict[str, bytes] = {}
        self.stored: dict[str, Digest] = {}
        self._links: dict[str, str] = {}
        self._room = _ALL_DOCUMENTS

    def take_all(self, source: Source) -> None:
        """Read the archive; raises `TarError`, `InvalidArchive`, `DigestMismatch`."""
        archive = TarReader(source)
        for entry in archive:
            if archive.entries > _MAX_ENTRIES:
                raise InvalidArchive(f"invalid archive: more than {_MAX_ENTRIES} entries")
            self._take(entry, archive)

    def resolve(self, path: str) -> str:
        """The path behind links."""
        path = posixpath.normpath(path)
        for _ in range(8):
            if path not in self._links:
                break
            path = self._links[path]
        return path

    def document(self, path: str) -> bytes | None:
        return self.documents.get(self.resolve(path))

    def blob(self, path: str) -> Digest:
        """The digest of a stored file; raises `InvalidArchive`."""
        path = self.resolve(path)
        if path in self.stored:
            return self.stored[path]
        if path in self.documents:
            return self._content.put(self.documents[path])
        raise InvalidArchive(f"invalid archive: {path!r} is missing")

    def _take(self, entry: Entry, archive: TarReader) -> None:
        path = posixpath.normpath(entry.name.decode("utf-8", "replace"))
        if entry.type == SYMLINK:
            target = entry.linkname.decode("utf-8", "replace")
            self._links[path] = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        elif entry.type == HARDLINK:
            self._links[path] = posixpath.normpath(entry.linkname.decode("utf-8", "replace"))
        elif entry.type == REGULAR and (digest := _named_digest(path)) is not None:
            self._take_blob(path, digest, entry, archive)
        elif entry.type == REGULAR and (entry.size > _DOCUMENT or path.endswith(".tar")):
            with self._content.spool() as spool:
                for piece in archive.chunks():
                    spool.write(piece)
                self.stored[path] = spool.commit()
            self._report(path)
        elif entry.type == REGULAR:
            self._room -= entry.size
            if self._room < 0:
                raise InvalidArchive(f"invalid archive: more than {_ALL_DOCUMENTS} bytes of small files")
            self.documents[path] = b"".join(archive.chunks())

    def _take_blob(self, path: str, digest: Digest, entry: Entry, archive: TarReader) -> None:
        with self._content.writer(digest, entry.size) as writer:
            if not writer.complete:
                writer.restart()
                for piece in archive.chunks():
                    writer.write(piece)
            writer.commit()
        self.stored[path] = digest
        self._report(path)


def _named_digest(path: str) -> Digest | None:
    """The digest that a path below ``blobs`` promises."""
    parts = path.split("/")
    if len(parts) != 3 or parts[0] != "blobs" or not digests.is_digest(f"{parts[1]}:{parts[2]}"):
        return None
    return Digest(f"{parts[1]}:{parts[2]}")


def _from_index(store: Store, files: _Files, platform: Platform) -> list[Loaded]:
    data = files.document("index.json")
    if data is None:
        return []
    index = manifests.parse(data)
    if not isinstance(index, Index):
        raise InvalidArchive("invalid archive: index.json is not an index")
    # Docker's own list may know names that the index doesn't.
    listed = [(files.resolve(item.config), _tags(item)) for item in _docker_list(files)]
    found: dict[Digest, Loaded] = {}
    for entry in index.manifests:
        target = _choose(store, entry, platform)
        if target is None:
            continue
        name = _name((entry.annotations or {}).get(NAME_ANNOTATION, ""),
                     (entry.annotations or {}).get(REF_ANNOTATION, ""))
        config = _manifest(store, target).config.digest
        more = [tag for path, tags in listed if path == _blob_path(config) for tag in tags]
        _store_image(store, target, [*([name] if name else []), *more], found)
    return list(found.values())


def _choose(store: Store, entry: Descriptor, platform: Platform) -> ManifestTarget | None:
    """The manifest that *entry* leads to; None if it isn't an image for us, or isn't in the archive."""
    if not store.content.has(entry.digest):
        return None
    found = manifests.parse(store.content.read(entry.digest, manifests.MAX_MANIFEST), entry.media_type)
    if isinstance(found, Index):
        chosen = found.choose(platform)
        return ManifestTarget(chosen.digest, entry.digest) if store.content.has(chosen.digest) else None
    return ManifestTarget(entry.digest) if found.is_image else None


def _from_docker(store: Store, files: _Files) -> list[Loaded]:
    found: dict[Digest, Loaded] = {}
    for item in _docker_list(files):
        names = _tags(item)
        config = store.content.read(files.blob(item.config), configs.MAX_CONFIG)
        layers = []
        for path in item.layers or []:
            digest = files.blob(path)
            layers.append(Descriptor(media_type=_layer_type(store, digest), digest=digest,
                                     size=store.content.size(digest)))
        _store_image(store, put_manifest(store.content, config, layers), names, found)
    return list(found.values())


def _docker_list(files: _Files) -> list[DockerImage]:
    data = files.document("manifest.json")
    if data is None:
        return []
    try:
        return msgspec.json.decode(data, type=list[DockerImage])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArchive(f"invalid archive: manifest.json: {error}") from None


def _layer_type(store: Store, digest: Digest) -> str:
    with store.content.open(digest) as file:
        first = file.read(4)
    if first[:3] == b"\x1f\x8b\x08":
        return manifests.OCI_LAYER_GZIP
    return manifests.OCI_LAYER_ZSTD if first == b"\x28\xb5\x2f\xfd" else manifests.OCI_LAYER


def _manifest(store: Store, target: ManifestTarget) -> Manifest:
    manifest = manifests.parse(store.content.read(target.manifest, manifests.MAX_MANIFEST))
    if not isinstance(manifest, Manifest):
        raise InvalidArchive(f"invalid archive: {target.manifest} is not an image's manifest")
    return manifest


def _store_image(store: Store, target: ManifestTarget, names: list[str], found: dict[Digest, Loaded]) -> None:
    """It gets its names together with its record: a prune finds no image without one in between."""
    manifest = _manifest(store, target)
    if not store.content.has(manifest.config.digest):
        raise InvalidArchive(f"invalid archive: {_blob_path(manifest.config.digest)!r} is missing")
    config = configs.parse(store.content.read(manifest.config.digest, configs.MAX_CONFIG))
    assemble(store, manifest, config, _missing)
    image = store.images.put(None, target, also=names, media_type=manifest.media_type)
    known = found[image.id].names if image.id in found else []
    found[image.id] = Loaded(image, list(dict.fromkeys([*known, *names])))


def _missing(blob: Descriptor, _offset: int) -> Iterable[bytes]:
    raise InvalidArchive(f"invalid archive: {_blob_path(blob.digest)!r} is missing")


def _name(full: str, ref: str) -> str | None:
    """The full name that an entry of the index is given; a bare tag isn't one."""
    for text in (full, ref):
        if "/" in text or (":" in text and text):
            try:
                return str(reference.parse_tagged(text))
            except InvalidParameter:
                continue
    return None


def _tags(item: DockerImage) -> list[str]:
    return [str(reference.parse_tagged(tag)) for tag in item.repo_tags or []]
