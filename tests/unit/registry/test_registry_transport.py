"""Proxies, client certificates, kept connections, and what goes wrong with them."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kist.errors import Unavailable
from kist.oci.platform import Platform
from kist.oci.reference import parse
from kist.registry.client import RegistryClient
from kist.registry.pull import fetch_blob, ping, resolve
from kist.registry.settings import ClientConfig, Patience, Proxies, RegistrySettings
from unit.registry.hostile import Handler, Image, Reply, Request, Server, reply

Serve = Callable[[Handler], Server]
AMD64 = Platform("amd64", "linux")
HASTY = Patience(connect=2, read=2, head=2, retries=0, repeats=0)


def behind(proxy: Server, *, no_proxy: str = "", insecure: bool = True) -> RegistryClient:
    proxies = Proxies(http=proxy.url, https=proxy.url, no_proxy=no_proxy)
    settings = {"registry.invalid": RegistrySettings(insecure=insecure)}
    return RegistryClient("registry.invalid", ClientConfig(settings, proxies, HASTY))


def test_plain_http_goes_through_the_proxy(serve: Serve) -> None:
    image = Image()

    def handler(request: Request) -> Reply:
        if request.method == "CONNECT":
            return reply(403)
        assert request.target.startswith("http://registry.invalid/v2/app/")
        return image.answer(Request(request.method, request.target.removeprefix("http://registry.invalid"),
                                    request.headers, b""))

    found = resolve(parse("registry.invalid/app:1"), AMD64, behind(serve(handler)))
    assert b"".join(fetch_blob(found, found.manifest.layers[0])) == image.layer


def test_a_proxy_that_refuses_is_named_so(serve: Serve) -> None:
    proxy = serve(lambda request: reply(403))
    with pytest.raises(Unavailable, match=r'Get "https://registry.invalid/v2/": X$'):
        ping(behind(proxy, insecure=False))
    assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert proxy.requests[0].target == "registry.invalid:443"


def test_what_no_proxy_names_goes_straight(serve: Serve) -> None:
    proxy = serve(lambda request: reply(500))
    with pytest.raises(Unavailable, match=r"lookup registry.invalid: no such host"):
        ping(behind(proxy, no_proxy="invalid"))
    assert proxy.requests == []


# --- client certificates ------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own CA, and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)], check=True,
                   capture_output=True)
    return cert, key


def test_client_certificates(tmp_path: Path) -> None:
    server_cert, server_key = certificate(tmp_path, "server")
    client_cert, client_key = certificate(tmp_path, "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_cert, server_key)
    context.load_verify_locations(client_cert)
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))
    host = f"127.0.0.1:{listener.getsockname()[1]}"

    def answer() -> None:
        for _ in range(3):
            raw, _ = listener.accept()
            try:
                with context.wrap_socket(raw, server_side=True) as secured:
                    secured.recv(65536)
                    secured.sendall(reply(200))
            except OSError:
                raw.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        mine = RegistrySettings(ca=str(server_cert), cert=str(client_cert), key=str(client_key))
        ping(RegistryClient(host, ClientConfig({host: mine}, patience=HASTY)))
        folder = tmp_path / "certs.d" / host
        folder.mkdir(parents=True)
        (folder / "its.crt").write_bytes(server_cert.read_bytes())
        (folder / "me.cert").write_bytes(client_cert.read_bytes())
        (folder / "me.key").write_bytes(client_key.read_bytes())
        found = ClientConfig(patience=HASTY, certificates=(str(tmp_path / "none"), str(tmp_path / "certs.d")))
        ping(RegistryClient(host, found))
        nobody = RegistrySettings(ca=str(server_cert))
        with pytest.raises(Unavailable):
            ping(RegistryClient(host, ClientConfig({host: nobody}, patience=HASTY)))
    finally:
        listener.close()
        thread.join(10)


# --- kept connections -------------------------------------------------------------------------------------------


class KeepAlive:
    """Answers ``each`` requests per connection, then closes without a word; counts the connections."""

    def __init__(self, each: int) -> None:
        self._each = each
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                if connection.recv(1, socket.MSG_PEEK) == b"\x16":
                    continue  # TLS is tried first
                self.connections += 1
                for _ in range(self._each):
                    head = b""
                    while b"\r\n\r\n" not in head:
                        data = connection.recv(65536)
                        if not data:
                            break
                        head += data
                    if not head:
                        break
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + b"{}" * (head[:4] != b"HEAD"))


@pytest.mark.parametrize(("each", "connections"), [(100, 1), (2, 3), (1, 6)])
def test_connections_are_kept_and_stale_ones_replaced(each: int, connections: int) -> None:
    server = KeepAlive(each)
    try:
        client = RegistryClient(server.host, ClientConfig(patience=Patience(connect=2, read=2, retries=0)))
        for _ in range(6):
            ping(client)
        assert server.connections == connections
        client.close()
    finally:
        server.close()
