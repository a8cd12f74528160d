"""The Hub alone, over loopback: a blob of 1 GB in and out, and 200 whole pulls of an image at once.

The client is as cheap as one in Python can be (`recv_into` one buffer), but it shares the machine's cores with the Hub:
what is shown is the pair's speed, not the Hub's limit.
"""

from __future__ import annotations

import hashlib
import os
import re
import selectors
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines import Bench

from support.hub import Hub

SIZE = 1_000_000_000
PIECE = os.urandom(1_000_000)
PULLS = 200
IMAGE = (2_000, 600, 5_000_000, 40_000_000)  # bytes of its blobs: the library's redis


def cycle(bench: Bench, results: Any, repetition: int) -> None:
    folder = bench.folder / f"hub-{repetition}"
    folder.mkdir()
    server = Hub(folder / "data", folder / "log", "--access-log", "")
    try:
        digest = _digest(SIZE)
        results.add("Hub: push of a 1 GB blob, GB/s", "kist", _push(server, digest, SIZE))
        for _ in range(3):
            results.add("Hub: pull of a 1 GB blob, GB/s", "kist", _pull(server, digest))
        before = _memory(server, "VmRSS")
        blobs = [(_digest(size), size) for size in IMAGE]
        for one, size in blobs:
            _push(server, one, size)
        results.add(f"Hub: {PULLS} whole pulls at once, s", "kist", _crowd(server, blobs))
        results.add("Hub: RSS before, MiB", "kist", before)
        results.add(f"Hub: peak RSS with {PULLS} pulls at once, MiB", "kist", _memory(server, "VmHWM"))
    finally:
        server.close()
        shutil.rmtree(folder)


def _pieces(size: int) -> Iterator[bytes]:
    for start in range(0, size, len(PIECE)):
        yield PIECE[:size - start]


def _digest(size: int) -> str:
    running = hashlib.sha256()
    for piece in _pieces(size):
        running.update(piece)
    return f"sha256:{running.hexdigest()}"


def _connect(server: Hub) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 60)


def _push(server: Hub, digest: str, size: int) -> float:
    """GB/s from the first byte until the Hub has it verified and on disk."""
    with _connect(server) as connection:
        begun = time.perf_counter()
        connection.sendall(f"POST /v2/bench/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: hub\r\n"
                           f"Content-Length: {size}\r\nConnection: close\r\n\r\n".encode())
        for piece in _pieces(size):
            connection.sendall(piece)
        answer = connection.recv(4096)
        took = time.perf_counter() - begun
    assert b" 201 " in answer[:20], answer
    return size / took / 1e9


def _ask(connection: socket.socket, digest: str) -> None:
    connection.sendall(f"GET /v2/bench/blobs/{digest} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())


def _pull(server: Hub, digest: str) -> float:
    buffer = bytearray(1 << 20)
    with _connect(server) as connection:
        begun = time.perf_counter()
        _ask(connection, digest)
        left = -1
        while left:
            count = connection.recv_into(buffer)
            assert count, "the Hub broke off"
            if left < 0:
                head, _, rest = bytes(buffer[:count]).partition(b"\r\n\r\n")
                assert b" 200 " in head[:20], head
                left = SIZE - len(rest)
            else:
                left -= count
        took = time.perf_counter() - begun
    return SIZE / took / 1e9


class _Puller:
    """One client that pulls a whole image, blob after blob, over one connection."""

    def __init__(self, server: Hub, blobs: list[tuple[str, int]]) -> None:
        self.connection = _connect(server)
        self._blobs, self._left, self._head = list(blobs), -1, b""
        _ask(self.connection, self._blobs[0][0])

    def step(self, buffer: bytearray) -> bool:
        """Take what has come; whether there is more to come."""
        count = self.connection.recv_into(buffer)
        assert count, "the Hub broke off"
        if self._left < 0:
            self._head += buffer[:count]
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return True
            assert b" 200 " in head[:20], head
            self._left, self._head = self._blobs[0][1] - len(rest), b""
        else:
            self._left -= count
        if self._left == 0:
            del self._blobs[0]
            if self._blobs:
                self._left = -1
                _ask(self.connection, self._blobs[0][0])
        return bool(self._blobs)


def _crowd(server: Hub, blobs: list[tuple[str, int]]) -> float:
    """Seconds until every one of the clients, all connected at once, has the whole image."""
    buffer, selector, pullers = bytearray(256 << 10), selectors.DefaultSelector(), []
    try:
        for _ in range(PULLS):
            pullers.append(_Puller(server, blobs))
            selector.register(pullers[-1].connection, selectors.EVENT_READ, pullers[-1])
        begun = time.perf_counter()
        while selector.get_map():
            for key, _ in selector.select(30):
                if not key.data.step(buffer):
                    selector.unregister(key.fileobj)
        return time.perf_counter() - begun
    finally:
        selector.close()
        for puller in pullers:
            puller.connection.close()


def _memory(server: Hub, field: str) -> float:
    """MiB of the Hub's own process."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) / 1024
