"""Small images and the requests that push them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from unit.hub.served import Answer, Client

OCI = "application/vnd.oci.image."
MANIFEST = OCI + "manifest.v1+json"
INDEX = OCI + "index.v1+json"
CONFIG = b'{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}'


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


@dataclass
class Image:
    layers: list[bytes] = field(default_factory=lambda: [b"one layer"])
    config: bytes = CONFIG
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def manifest(self) -> bytes:
        return json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(self.config, OCI + "config.v1+json"),
            "layers": [descriptor(layer, OCI + "layer.v1.tar") for layer in self.layers], **self.more}).encode()

    @property
    def digest(self) -> str:
        return sha256(self.manifest)

    @property
    def descriptor(self) -> dict[str, Any]:
        return descriptor(self.manifest, MANIFEST)

    def push(self, client: Client, name: str, reference: str, **headers: str) -> Answer:
        for blob in (self.config, *self.layers):
            push_blob(client, name, blob, **headers)
        answer = put_manifest(client, name, reference, self.manifest, **headers)
        assert answer.status == 201, answer.body
        return answer


def push_blob(client: Client, name: str, blob: bytes, **headers: str) -> None:
    answer = client("POST", f"/v2/{name}/blobs/uploads/?digest={sha256(blob)}", blob, **headers)
    assert answer.status == 201, answer.body


def put_manifest(
    client: Client, name: str, reference: str, body: bytes, kind: str = MANIFEST, **headers: str
) -> Answer:
    return client("PUT", f"/v2/{name}/manifests/{reference}", body, Content_Type=kind, **headers)


def index_of(*images: Image, **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX,
                       "manifests": [image.descriptor for image in images], **more}).encode()
