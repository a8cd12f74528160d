"""The Hub alone, over loopback: a blob of 1 GB in and out, and 200 pulls at once.

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
from pathlib import Path
from typing import Any

from engines import Bench

from support.hub import Hub

SIZE = 1_000_000_000
PIECE = os.urandom(1_000_000)
PULLS, EACH = 200, 5_000_000


def cycle(bench: Bench, results: Any, repetition: int) -> None:
    folder = bench.folder / f"hub-{repetition}"
    folder.mkdir()
    server = Hub(folder / "data", folder / "log", "--access-log", "")
    try:
        digest = _digest()
        results.add("Hub: push of a 1 GB blob, GB/s", "kist", _push(server, digest))
        for _ in range(3):
            results.add("Hub: pull of a 1 GB blob, GB/s", "kist", _pull(server, digest))
        before = _memory(server, "VmRSS")
        _crowd(server, digest)
        results.add("Hub: RSS before, MiB", "kist", before)
        results.add(f"Hub: peak RSS with {PULLS} pulls at once, MiB", "kist", _memory(server, "VmHWM"))
    finally:
        server.close()
        shutil.rmtree(folder)


def _digest() -> str:
    running = hashlib.sha256()
    for _ in range(SIZE // len(PIECE)):
        running.update(PIECE)
    return f"sha256:{running.hexdigest()}"


def _connect(server: Hub) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), 60)


def _push(server: Hub, digest: str) -> float:
    """GB/s from the first byte until the Hub has it verified and on disk."""
    with _connect(server) as connection:
        begun = time.perf_counter()
        connection.sendall(f"POST /v2/bench/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: hub\r\n"
                           f"Content-Length: {SIZE}\r\nConnection: close\r\n\r\n".encode())
        for _ in range(SIZE // len(PIECE)):
            connection.sendall(PIECE)
        answer = connection.recv(4096)
        took = time.perf_counter() - begun
    assert b" 201 " in answer[:20], answer
    return SIZE / took / 1e9


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


def _crowd(server: Hub, digest: str) -> None:
    """All are connected and being served before any has had its share; then they leave in the middle."""
    buffer, selector = bytearray(64 << 10), selectors.DefaultSelector()
    had: dict[socket.socket, int] = {}
    try:
        for _ in range(PULLS):
            connection = _connect(server)
            _ask(connection, digest)
            had[connection] = 0
            selector.register(connection, selectors.EVENT_READ)
        while min(had.values()) < EACH:
            for key, _ in selector.select(30):
                connection = key.fileobj  # type: ignore[assignment]
                count = connection.recv_into(buffer)
                assert count, "the Hub broke off"
                had[connection] += count
    finally:
        selector.close()
        for connection in had:
            connection.close()


def _memory(server: Hub, field: str) -> float:
    """MiB of the Hub's own process."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) / 1024
