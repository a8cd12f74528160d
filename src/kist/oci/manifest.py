"""Manifests and indexes, in OCI's and Docker's media types (image-spec 1.1, manifest.md, image-index.md).

    index ──┬── manifest (linux/amd64) ──┬── config
            │                            ├── layer
            └── manifest (linux/arm64)   └── layer …

Every arrow is a descriptor: media type, digest, size. The raw bytes are what a digest names, so nobody
encodes a parsed manifest again to store it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kist.errors import EngineFailure, NotFound
from kist.oci import digest as digests
from kist.oci.digest import Digest
from kist.oci.image import MAX_LAYERS
from kist.oci.platform import Platform, choose

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
#: What to send in ``Accept``, best first.
ACCEPT = (OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST)

_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
#: How each media type of layer is compressed.
LAYERS = {
    OCI_LAYER: "none", OCI_LAYER_GZIP: "gzip", OCI_LAYER_ZSTD: "zstd",
    DOCKER_LAYER: "none", DOCKER_LAYER_GZIP: "gzip", DOCKER_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN_LAYER: "gzip",
    _NONDISTRIBUTABLE: "none", f"{_NONDISTRIBUTABLE}+gzip": "gzip", f"{_NONDISTRIBUTABLE}+zstd": "zstd",
}

#: The largest manifest or index that is read, in bytes (distribution-spec 1.1, #pushing-manifests).
MAX_MANIFEST = 4 << 20
MAX_INDEX_ENTRIES = 10_000
#: No content is larger than this (16 TiB, the largest file of ext4).
MAX_SIZE = 1 << 44


class InvalidManifest(EngineFailure):
    """The manifest is broken, hostile or of a kind that isn't supported."""


class NoMatchingPlatform(NotFound):
    """The index has no image for the platform."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """What a content is: its type, name and size in bytes."""

    media_type: str = ""
    digest: Digest
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    data: str | None = None
    platform: Platform | None = None
    artifact_type: str | None = None

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEXES

    @property
    def is_foreign(self) -> bool:
        """A layer that registries needn't have: its URLs say where it is (layer.md, #non-distributable-layers)."""
        return "nondistributable" in self.media_type or ".foreign." in self.media_type

    @property
    def is_manifest(self) -> bool:
        return self.media_type in MANIFESTS


class Manifest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One image (or artifact): a configuration and layers, lowest first."""

    schema_version: int
    media_type: str = ""
    artifact_type: str | None = None
    config: Descriptor
    layers: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None

    @property
    def is_image(self) -> bool:
        """Whether it can be run: its configuration is an image's."""
        return self.config.media_type in CONFIGS

    @property
    def blobs(self) -> list[Descriptor]:
        """All that it needs beside itself."""
        return [self.config, *self.layers]


class Index(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Several manifests under one name, one per platform."""

    schema_version: int
    media_type: str = ""
    artifact_type: str | None = None
    manifests: list[Descriptor]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None

    def choose(self, wanted: Platform, *, strict: bool = False) -> Descriptor:
        """The manifest for platform *wanted*; raises `NoMatchingPlatform` with Docker's words."""
        usable = [(entry.platform, entry) for entry in self.manifests
                  if entry.media_type in MANIFESTS | INDEXES and not _is_attestation(entry)]
        found = choose(usable, wanted, strict=strict)
        if found is None:
            raise NoMatchingPlatform(f"no matching manifest for {wanted} in the manifest list entries")
        return found


_PROBE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MANIFEST = msgspec.json.Decoder(Manifest, dec_hook=lambda kind, value: kind(value))
_INDEX = msgspec.json.Decoder(Index, dec_hook=lambda kind, value: kind(value))


def parse(data: bytes, media_type: str | None = None) -> Manifest | Index:
    """The manifest or index in *data*; *media_type* is what the registry or descriptor called it.

    The result's `media_type` is always set. Raises `InvalidManifest`, also where the outer and the inner
    media type differ, or a document could be read as either kind (CVE-2021-41190).
    """
    if len(data) > MAX_MANIFEST:
        raise InvalidManifest(f"invalid manifest: larger than {MAX_MANIFEST} bytes")
    try:
        kind = _media_type_of(_PROBE.decode(data), (media_type or "").partition(";")[0].strip().lower())
        found: Manifest | Index = (_INDEX if kind in INDEXES else _MANIFEST).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifest(f"invalid manifest: {error}") from None
    _check(found)
    return found if found.media_type else msgspec.structs.replace(found, media_type=kind)


def descriptor(data: bytes, media_type: str, **more: Any) -> Descriptor:
    """The descriptor of content *data*."""
    return Descriptor(media_type=media_type, digest=digests.of(data), size=len(data), **more)


def encode(document: Manifest | Index) -> bytes:
    """A document of our own making as JSON; the same document always gives the same bytes."""
    return msgspec.json.encode(document)


def _media_type_of(probe: dict[str, msgspec.Raw], outer: str) -> str:
    inner = msgspec.json.decode(probe["mediaType"], type=str) if "mediaType" in probe else ""
    version = msgspec.json.decode(probe.get("schemaVersion", msgspec.Raw(b"0")), type=int)
    if version == 1 or SCHEMA1 in (inner, outer) or SCHEMA1_SIGNED in (inner, outer):
        raise InvalidManifest(
            "Docker image manifest version 2, schema 1 is not supported: ask the author of the image to "
            "publish it in the OCI format or as manifest version 2, schema 2"
        )
    if version != 2:
        raise InvalidManifest(f"invalid manifest: schemaVersion {version} is not 2")
    if "manifests" in probe and ("layers" in probe or "config" in probe):
        raise InvalidManifest("invalid manifest: both an index and a manifest")
    shape = OCI_INDEX if "manifests" in probe else OCI_MANIFEST
    known = INDEXES | MANIFESTS
    if inner and inner not in known:
        raise InvalidManifest(f"unsupported manifest media type and no default available: {inner}")
    if inner and outer in known and inner != outer:
        raise InvalidManifest(f"invalid manifest: mediaType {inner} was announced as {outer}")
    kind = inner or (outer if outer in known else shape)
    if (kind in INDEXES) != (shape == OCI_INDEX):
        raise InvalidManifest(f"invalid manifest: the document is not a {kind}")
    return kind


def _check(found: Manifest | Index) -> None:
    entries = found.manifests if isinstance(found, Index) else found.blobs
    bound = MAX_INDEX_ENTRIES if isinstance(found, Index) else MAX_LAYERS + 1
    if len(entries) > bound:
        raise InvalidManifest(f"invalid manifest: more than {bound} entries")
    for entry in [*entries, *([found.subject] if found.subject else [])]:
        try:
            digests.parse(entry.digest)
        except digests.InvalidDigest as error:
            raise InvalidManifest(f"invalid manifest: digest {entry.digest!r}: {error}") from None
        if not 0 <= entry.size <= MAX_SIZE:
            raise InvalidManifest(f"invalid manifest: size {entry.size} of {entry.digest}")


def _is_attestation(entry: Descriptor) -> bool:
    """BuildKit hangs provenance beside the images, on the platform ``unknown/unknown``."""
    if (entry.annotations or {}).get("vnd.docker.reference.type") == "attestation-manifest":
        return True
    return entry.platform is not None and entry.platform.os == "unknown"
