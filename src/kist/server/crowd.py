"""What a connection too many is told: one answer, and the end.

Each connection costs descriptors (of which there is a limit per process) that the engine needs for containers: a
client that leaks connections must not take them all.
"""

from __future__ import annotations

import asyncio
import json
import resource
from typing import cast

PATIENCE = 5.0  # seconds for its request; it is answered all the same


def most_connections() -> int:
    """Half of the descriptors that this process may have: the other half is the engine's."""
    return max(16, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


class TooMany(asyncio.Protocol):
    """Answers 503 to whatever is asked."""

    def __init__(self, most: int) -> None:
        body = json.dumps({"message": f"too many connections: there are {most} already"}).encode()
        self._answer = (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
                        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, self._tell)

    def data_received(self, data: bytes) -> None:
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()

    def _tell(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._answer)
            self._transport.close()
