"""A forward proxy on loopback, as companies have them: CONNECT for TLS, absolute URLs for plain HTTP, a password."""

from __future__ import annotations

import base64
import http.client
import select
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class ForwardProxy:
    """Passes requests for the names in *places* on to their addresses, and for nothing else; `seen` are the asked ones.

    `url` has the name and password that it wants.
    """

    def __init__(self, places: Mapping[str, str], user: str = "", password: str = "") -> None:
        self.places, self.seen = dict(places), list[str]()
        self.wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{user}:{password}@{self.host}" if user else f"http://{self.host}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                if place := self._place(self.path):
                    with socket.create_connection(_address(place)) as upstream:
                        self.send_response(200)
                        self.end_headers()
                        _splice(self.connection, upstream)
                    self.close_connection = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if not (place := self._place(parts.netloc)):
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                upstream = http.client.HTTPConnection(*_address(place))
                headers = {key: value for key, value in self.headers.items() if not key.lower().startswith("proxy-")}
                upstream.request(self.command, parts._replace(scheme="", netloc="").geturl(), body, headers)
                answer = upstream.getresponse()
                self.send_response_only(answer.status, answer.reason)
                for key, value in answer.getheaders():
                    if key.lower() not in ("transfer-encoding", "connection"):
                        self.send_header(key, value)
                self.send_header("Connection", "close")
                self.end_headers()
                while piece := answer.read(1 << 16):
                    self.wfile.write(piece)
                upstream.close()
                self.close_connection = True

            do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def _place(self, name: str) -> str:
                proxy.seen.append(f"{self.command} {name}")
                if proxy.wanted and self.headers.get("Proxy-Authorization") != proxy.wanted:
                    self.send_error(407)
                elif name not in proxy.places:
                    self.send_error(403)
                else:
                    return proxy.places[name]
                return ""

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _address(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host, int(port)


def _splice(one: socket.socket, two: socket.socket) -> None:
    while True:
        for ready in select.select([one, two], [], [])[0]:
            data = ready.recv(1 << 16)
            if not data:
                return
            (two if ready is one else one).sendall(data)
