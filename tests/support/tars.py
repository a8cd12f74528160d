"""Archives made byte by byte, so that they may be as wrong as a test needs them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Iterable
from typing import Any

from kist.oci import manifest as manifests
from kist.oci.digest import Digest, of
from kist.store.images import ManifestTarget
from kist.store.store import Store
from kist.store.tarformat import (
    BLOCKDEV,
    CHARDEV,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Entry,
)
from kist.store.tarwrite import TarWriter


def file(name: str, data: bytes = b"", **more: Any) -> tuple[Entry, bytes]:
    return Entry(name.encode(), REGULAR, size=len(data), **more), data


def directory(name: str, mode: int = 0o755, **more: Any) -> tuple[Entry, bytes]:
    return Entry(name.encode(), DIRECTORY, mode=mode, **more), b""


def symlink(name: str, target: str) -> tuple[Entry, bytes]:
    return Entry(name.encode(), SYMLINK, linkname=target.encode()), b""


def hardlink(name: str, target: str) -> tuple[Entry, bytes]:
    return Entry(name.encode(), HARDLINK, linkname=target.encode()), b""


def node(name: str, kind: str, major: int = 0, minor: int = 0, mode: int = 0o600) -> tuple[Entry, bytes]:
    kinds = {"c": CHARDEV, "b": BLOCKDEV, "p": FIFO}
    return Entry(name.encode(), kinds[kind], mode=mode, major=major, minor=minor), b""


def tar(*entries: tuple[Entry, bytes]) -> bytes:
    """An archive of entries as the functions above make them."""
    out = io.BytesIO()
    writer = TarWriter(out)
    for entry, data in entries:
        writer.add(entry)
        writer.write(data)
    writer.close()
    return out.getvalue()


def raw_header(name: bytes, kind: bytes = b"0", size: bytes = b"00000000000", **fields: bytes) -> bytes:
    """One header block with any bytes in its fields, and a right checksum."""
    header = bytearray(512)
    for offset, value in ((0, name[:100]), (100, fields.get("mode", b"0000644")),
                          (108, fields.get("uid", b"0000000")), (116, fields.get("gid", b"0000000")),
                          (124, size), (136, fields.get("mtime", b"00000000000")), (148, b"        "), (156, kind),
                          (157, fields.get("linkname", b"")), (257, fields.get("magic", b"ustar\x0000")),
                          (329, fields.get("major", b"")), (345, fields.get("prefix", b""))):
        header[offset:offset + len(value)] = value
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def pax(*records: bytes) -> bytes:
    """A pax header with these records (``key=value``) as its data."""
    data = b""
    for record in records:
        length = len(record) + 3
        while len(b"%d %s\n" % (length, record)) != length:
            length += 1
        data += b"%d %s\n" % (length, record)
    return raw_header(b"pax", b"x", b"%011o" % len(data)) + data + bytes(-len(data) % 512)


END = bytes(1024)


def diff_id(data: bytes) -> Digest:
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def config_of(layers: Iterable[bytes], **config: Any) -> bytes:
    return json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2024-05-06T07:08:09Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id(layer) for layer in layers]},
    }).encode()


def put_image(store: Store, name: str | None, *layers: bytes, **config: Any) -> Any:
    """An image of these layers (uncompressed tars) in the store, as a pull leaves it there."""
    with store.lease():
        blobs = []
        parent = None
        for layer in layers:
            blob = gzip.compress(layer, 1, mtime=0)
            store.content.put(blob)
            blobs.append(manifests.Descriptor(media_type=manifests.OCI_LAYER_GZIP, digest=of(blob), size=len(blob)))
            parent = store.layers.apply(io.BytesIO(layer), diff_id(layer), parent)
        data = config_of(layers, **config)
        store.content.put(data)
        manifest = manifests.encode(manifests.Manifest(
            schema_version=2, media_type=manifests.OCI_MANIFEST, layers=blobs,
            config=manifests.descriptor(data, manifests.OCI_CONFIG)))
        return store.images.put(name, ManifestTarget(store.content.put(manifest)))
