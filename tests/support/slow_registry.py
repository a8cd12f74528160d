"""A registry on a loopback port that sends as slowly as it is told, counts what it sends, and honours Range."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PIECE = 16 << 10


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class SlowRegistry:
    """Serves one image `app:1` of *layers* (each a dict of path → content). `pause`: seconds between 16 KiB."""

    def __init__(self, *layers: dict[str, bytes], address: str = "127.0.0.1") -> None:
        self.pause = 0.0
        self.sending = 0
        self.sent: dict[str, int] = {}
        self.ranges: list[str] = []
        self.blobs: dict[str, bytes] = {}
        tars = [_tar(files) for files in layers]
        packed = [gzip.compress(tar, 1, mtime=0) for tar in tars]
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"]},
                             "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]}}).encode()
        self.blobs = {digest(data): data for data in [config, *packed]}
        self.layers = [digest(data) for data in packed]
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "digest": digest(config), "size": len(config)},
            "layers": [{"mediaType": _LAYER, "digest": digest(data), "size": len(data)} for data in packed]}).encode()
        self._server = ThreadingHTTPServer((address, 0), _handler(self))
        self._server.daemon_threads = True
        self.host = f"{address}:{self._server.server_address[1]}"
        self.name = f"{self.host}/app:1"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def size(self) -> int:
        return sum(len(self.blobs[layer]) for layer in self.layers)

    def sent_of_layers(self) -> int:
        return sum(self.sent.get(layer, 0) for layer in self.layers)

    def __enter__(self) -> SlowRegistry:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def _handler(registry: SlowRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, _, last = self.path.partition("?")[0].rpartition("/")
            if self.path == "/v2/":
                self._answer(200, b"{}", "application/json", "")
            elif kind.endswith("/manifests") and last in ("1", digest(registry.manifest)):
                self._answer(200, registry.manifest, _MANIFEST, "")
            elif kind.endswith("/blobs") and last in registry.blobs:
                self._blob(last)
            else:
                self._answer(404, b"{}", "application/json", "")

        def do_HEAD(self) -> None:
            self.do_GET()

        def _blob(self, name: str) -> None:
            data, wanted = registry.blobs[name], self.headers.get("Range", "")
            registry.sending += 1
            try:
                if not wanted:
                    self._answer(200, data, "application/octet-stream", name)
                    return
                registry.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").partition("-")[0])
                self._answer(206, data[start:], "application/octet-stream", name,
                             f"bytes {start}-{len(data) - 1}/{len(data)}")
            finally:
                registry.sending -= 1

        def _answer(self, status: int, body: bytes, kind: str, name: str, content_range: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if content_range:
                self.send_header("Content-Range", content_range)
            self.end_headers()
            if self.command == "HEAD":
                return
            for at in range(0, len(body), PIECE):
                self.wfile.write(body[at:at + PIECE])
                if name:
                    registry.sent[name] = registry.sent.get(name, 0) + len(body[at:at + PIECE])
                if registry.pause and name in registry.layers:
                    time.sleep(registry.pause)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                pass

    return Handler
