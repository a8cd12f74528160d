"""A registry on loopback that does what a test tells it to, down to the bytes on the wire."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Reply = bytes | Iterable[bytes]
Handler = Callable[[Request], Reply]


def reply(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return head.encode() + b"\r\n" + body


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def error_body(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@dataclass
class Server:
    """One thread per connection, one request per connection; ``requests`` keeps what came in."""

    handler: Handler
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def wait(self, seconds: float) -> None:
        """Sleep that ends with the server, for slow answers."""
        self._stop.wait(seconds)

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                request = _read(connection)
                if request is None:
                    return
                self.requests.append(request)
                answer = self.handler(request)
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    if self._stop.is_set():
                        return
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(1)
                while connection.recv(65536):
                    pass
            except OSError:
                pass


def _read(connection: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece or not (data + piece)[:1].isalpha():
            return None  # gone, or a TLS hello
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        raise OSError("not here")
    while len(body) < int(headers.get("content-length", "0")):
        piece = connection.recv(65536)
        if not piece:
            return None
        body += piece
    return Request(method, target, headers, body)


@dataclass
class Image:
    """A small image: manifest, config and one layer, as a registry keeps them."""

    layer: bytes = b"layer" * 1000
    config: bytes = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'

    @property
    def manifest(self) -> bytes:
        return json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(self.config),
                       "size": len(self.config)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(self.layer),
                        "size": len(self.layer)}],
        }).encode()

    def answer(self, request: Request) -> bytes:
        """What an honest registry says, Ranges included."""
        if "/manifests/" in request.path:
            return reply(200, self.manifest, Content_Type="application/vnd.oci.image.manifest.v1+json",
                         Docker_Content_Digest=sha256(self.manifest))
        for blob in (self.layer, self.config):
            if request.path.endswith(sha256(blob)):
                start = int(request.headers.get("range", "bytes=0-")[6:].rstrip("-"))
                if not start:
                    return reply(200, blob)
                return reply(206, blob[start:], Content_Range=f"bytes {start}-{len(blob) - 1}/{len(blob)}")
        return reply(404, error_body("BLOB_UNKNOWN", "blob unknown to registry"))
