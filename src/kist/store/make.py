"""Make images of our own: layers out of plain tars, manifests out of layers (commit, import, load)."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from kist.oci import digest as digests
from kist.oci import manifest as manifests
from kist.oci.digest import Digest
from kist.oci.manifest import Descriptor, Manifest
from kist.store.content import ContentStore, Spool
from kist.store.images import ManifestTarget

isal_zlib: Any
try:
    from isal import isal_zlib
except ImportError:     # no wheel for this machine
    isal_zlib = None

_GZIP = 31      # window bits: the largest window, with gzip's header


class LayerSink:
    """Takes an uncompressed tar by `write`, and stores it gzipped; `commit` gives what it became."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._hash = hashlib.sha256()
        # Level 1 of either: layers are written once and cost most in time; no time stamp, so equal in, equal out.
        self._gzip: Any = (isal_zlib.compressobj(1, isal_zlib.DEFLATED, _GZIP) if isal_zlib is not None
                           else zlib.compressobj(1, zlib.DEFLATED, _GZIP))
        self.size = 0

    def write(self, data: bytes | memoryview, /) -> int:
        self._hash.update(data)
        self.size += len(data)
        self._spool.write(self._gzip.compress(data))
        return len(data)

    def commit(self) -> tuple[Descriptor, Digest]:
        """The blob's descriptor and the layer's diff id."""
        self._spool.write(self._gzip.flush())
        digest = self._spool.commit()
        blob = Descriptor(media_type=manifests.OCI_LAYER_GZIP, digest=digest, size=self._spool.size)
        return blob, digests.from_hash(self._hash)


def put_manifest(content: ContentStore, config: bytes, layers: list[Descriptor],
                 annotations: dict[str, str] | None = None) -> ManifestTarget:
    """Store a configuration and a manifest of it and *layers* (lowest first)."""
    content.put(config)
    manifest = Manifest(schema_version=2, media_type=manifests.OCI_MANIFEST, layers=layers,
                        config=manifests.descriptor(config, manifests.OCI_CONFIG), annotations=annotations)
    return ManifestTarget(content.put(manifests.encode(manifest)))
