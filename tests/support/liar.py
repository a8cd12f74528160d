"""A registry that lies, on a loopback port: each repository name chooses its lie."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Lie = str


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(*entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            info, data = entry if isinstance(entry, tuple) else (entry, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Image:
    """One layer (uncompressed tar bytes) with its config and manifest."""

    def __init__(self, tar: bytes, *, packed: bytes | None = None, claimed: dict[str, Any] | None = None) -> None:
        self.layer = packed if packed is not None else gzip.compress(tar, mtime=0)
        config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
                  "rootfs": {"type": "layers", "diff_ids": [digest(tar)]}}
        self.config = json.dumps(config).encode()
        oci = "application/vnd.oci.image."
        layer = {"mediaType": oci + "layer.v1.tar+gzip", "digest": digest(self.layer), "size": len(self.layer)}
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
            "config": {"mediaType": oci + "config.v1+json", "digest": digest(self.config), "size": len(self.config)},
            "layers": [layer | (claimed or {})],
        }).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Liar

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, data: bytes, kind: str, *, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.send_header("Docker-Content-Digest", digest(data))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        if len(parts) < 4 or parts[1] not in self.server.images:
            self.send_response(200 if self.path == "/v2/" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        name, kind, which = parts[1], parts[2], parts[3]
        image, lie = self.server.images[name], self.server.lies.get(name, "")
        if kind == "manifests":
            self._answer(image.manifest, "application/vnd.oci.image.manifest.v1+json")
        elif which == digest(image.config):
            self._answer(image.config, "application/octet-stream")
        else:
            self._layer(image.layer, lie)

    def _layer(self, data: bytes, lie: Lie) -> None:
        if lie == "wrong":
            data = bytes(reversed(data))
            self._answer(data, "application/octet-stream")
        elif lie == "truncated":
            self._answer(data[:-20], "application/octet-stream", length=len(data))
            self.close_connection = True
        elif lie == "endless":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for chunk in self._for_ever(data):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        else:
            self._answer(data, "application/octet-stream")

    def _for_ever(self, data: bytes) -> Iterator[bytes]:
        yield data
        for _ in range(4096):  # "for ever" is 256 MiB here: a client that reads on is caught, not the machine
            yield bytes(1 << 16)


class Liar(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.images: dict[str, Image] = {}
        self.lies: dict[str, Lie] = {}
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up on a lie is right."""

    def offer(self, name: str, image: Image, lie: Lie = "") -> str:
        self.images[name], self.lies[name] = image, lie
        return f"{self.host}/{name}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()
