"""A slow line: what is on its other side is reached through a loopback port, as fast as the test says."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

PIECE = 64 << 10


class Relay:
    """Passes connections on to `port`; `pause`: seconds before each 64 KiB that come back, `came`: how many bytes did.

    An end on either side ends both.
    """

    def __init__(self, port: int) -> None:
        self.port, self.pause, self.came = port, 0.0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client: socket.socket) -> None:
        with client:
            try:
                with socket.create_connection(("127.0.0.1", self.port)) as server:
                    asking = threading.Thread(target=_pump, args=(client, server), daemon=True)
                    asking.start()
                    while piece := server.recv(PIECE):
                        time.sleep(self.pause)
                        client.sendall(piece)
                        self.came += len(piece)
                    client.shutdown(socket.SHUT_RDWR)
                    asking.join()
            except OSError:
                pass  # either side is gone


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(PIECE):
            target.sendall(piece)
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
