"""An image as an OCI image layout (image-spec 1.1, image-layout.md):

    DIR/oci-layout              {"imageLayoutVersion":"1.0.0"}
    DIR/index.json              the image's manifest, annotated with its tag, and its bill of materials
    DIR/blobs/sha256/<hex>      manifests, config, gzip layers, bill of materials
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from kist.hub.library.sbom import MEDIA_TYPE as SPDX

_OCI = "application/vnd.oci.image."
_CHUNK = 1 << 20
_packing: defaultdict[str, Lock] = defaultdict(Lock)  # images that are built side by side share their base's layers


def timestamp(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class LayoutWriter:
    """Collects blobs below a folder; every write is by digest, so a repeated build overwrites equals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def json(self, media_type: str, value: Any) -> dict[str, Any]:
        data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
        return self.blob(_OCI + media_type, data)

    def blob(self, media_type: str, data: bytes) -> dict[str, Any]:
        hexdigest = hashlib.sha256(data).hexdigest()
        (self._blobs / hexdigest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{hexdigest}", "size": len(data)}

    def layer(self, tar: Path) -> tuple[dict[str, Any], str]:
        """One layer, compressed; returns its descriptor and its diff id (the digest of the tar itself).

        The compressed file stays beside the tar: a base is compressed once for all that stand on it.
        """
        packed, facts = tar.with_name(f"{tar.name}.gz"), tar.with_name(f"{tar.name}.json")
        with _packing[str(tar)]:
            if not facts.exists():
                facts.write_text(json.dumps(_pack(tar, packed)))
        digest, diff = json.loads(facts.read_text())
        target = self._blobs / digest
        if not target.exists():
            target.hardlink_to(packed)
        descriptor = {"mediaType": _OCI + "layer.v1.tar+gzip", "digest": f"sha256:{digest}",
                      "size": packed.stat().st_size}
        return descriptor, f"sha256:{diff}"

    def index(self, manifest: dict[str, Any], tag: str, referrers: Sequence[dict[str, Any]] = ()) -> None:
        entry = manifest | {"annotations": {"org.opencontainers.image.ref.name": tag}}
        value = {"schemaVersion": 2, "mediaType": _OCI + "index.v1+json", "manifests": [entry, *referrers]}
        (self.folder / "index.json").write_text(json.dumps(value, indent=1))


def _pack(tar: Path, packed: Path) -> tuple[str, str]:
    """Compress; SHA-256 (hexadecimal) of what comes out and of what goes in."""
    plain, running = hashlib.sha256(), hashlib.sha256()
    squeeze = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: gzip framing with a zero time stamp
    with tar.open("rb") as source, packed.open("wb") as out:
        while chunk := source.read(_CHUNK):
            plain.update(chunk)
            _put(out, running, squeeze.compress(chunk))
        _put(out, running, squeeze.flush())
    return running.hexdigest(), plain.hexdigest()


def _put(out: Any, running: Any, data: bytes) -> None:
    running.update(data)
    out.write(data)


def write_image(folder: Path, tag: str, layers: Sequence[tuple[Path, str]], config: dict[str, Any], *,
                architecture: str, epoch: int, annotations: dict[str, str],
                bill: Callable[[str], bytes] | None = None) -> str:
    """Writes an image of ``(tar, created-by)`` layers with the run configuration; returns its manifest digest.

    ``bill`` gives the SPDX document for that digest, which becomes a referrer (image-spec 1.1, manifest.md#subject).
    """
    layout, created = LayoutWriter(folder), timestamp(epoch)
    packed = [layout.layer(tar) for tar, _ in layers]
    image = {
        "architecture": architecture, "os": "linux", "created": created, "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in packed]},
        "history": [{"created": created, "created_by": by} for _, by in layers],
    }
    manifest = layout.json("manifest.v1+json", {
        "schemaVersion": 2, "mediaType": _OCI + "manifest.v1+json",
        "config": layout.json("config.v1+json", image), "layers": [descriptor for descriptor, _ in packed],
        "annotations": annotations | {"org.opencontainers.image.created": created},
    })
    referrers = [_bill(layout, manifest, bill(manifest["digest"]), created)] if bill else []
    layout.index(manifest | {"platform": {"architecture": architecture, "os": "linux"}}, tag, referrers)
    return str(manifest["digest"])


def _bill(layout: LayoutWriter, subject: dict[str, Any], document: bytes, created: str) -> dict[str, Any]:
    """An artifact of one blob (image-spec 1.1, manifest.md#guidelines-for-artifact-usage)."""
    found = layout.json("manifest.v1+json", {
        "schemaVersion": 2, "mediaType": _OCI + "manifest.v1+json", "artifactType": SPDX,
        "config": layout.blob("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [layout.blob(SPDX, document)], "subject": subject,
        "annotations": {"org.opencontainers.image.created": created}})
    return found | {"artifactType": SPDX}
