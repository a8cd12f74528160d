"""A syslog receiver that talks TLS, by Python's ssl."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any


class Receiver:
    """Takes connections, one after the other, until it is closed; what each sent, and who that was."""

    def __init__(self, pki: Path, *, port: int = 0, asks: bool = False, name: str = "server",
                 first: threading.Event | None = None) -> None:
        """``first``: nothing is read before it is set."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
        if asks:
            self.context.load_verify_locations(pki / "ca.pem")
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.server = socket.create_server(("127.0.0.1", port))
        self.address = ["tcp", *self.server.getsockname()]
        self.first = first
        self.got: list[bytearray] = []
        self.who: list[Any] = []
        self.connections: list[ssl.SSLSocket] = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self.server.accept()
            except OSError:
                return
            raw.settimeout(20)
            try:
                with self.context.wrap_socket(raw, server_side=True) as peer:
                    self.connections.append(peer)
                    self.who.append(peer.getpeercert())
                    if self.first:
                        self.first.wait(20)
                    self.got.append(bytearray())
                    while data := peer.recv(65536):
                        self.got[-1] += data
            except OSError:
                pass

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join()
