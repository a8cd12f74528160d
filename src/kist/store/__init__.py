"""The image store: content by digest, references, layers, snapshots; nothing in it is ever half-visible.

`Store` is the whole of it for one server; `DiskContent` and `TarReader` serve others alone, too.
"""

from kist.store.assemble import assemble
from kist.store.errors import DigestMismatch, DiskFull, InvalidArchive, InvalidLayer, NoSuchContent
from kist.store.images import Image, ManifestTarget
from kist.store.store import Store

__all__ = ["DigestMismatch", "DiskFull", "Image", "InvalidArchive", "InvalidLayer", "ManifestTarget",
           "NoSuchContent", "Store", "assemble"]
