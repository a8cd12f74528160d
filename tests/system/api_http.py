"""One request of the Engine API to a daemon, by the standard library's HTTP client."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, NamedTuple

from support.daemon import Daemon


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Answer(NamedTuple):
    status: int
    type: str  # the Content-Type, "" without one
    content: bytes


def fetch(daemon: Daemon, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """A connection that was taken over is let go behind its head."""
    connection = _UnixConnection(str(daemon.socket))
    try:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, target, data, {**({"Content-Type": "application/json"} if data else {}),
                                                  **(headers or {})})
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheader("Content-Type", ""), answer.read())
    finally:
        connection.close()


def ask(daemon: Daemon, method: str, target: str, body: Any = None) -> tuple[int, Any]:
    """(status, decoded JSON); lines of JSON become a list, anything else the bytes."""
    answer = fetch(daemon, method, target, body)
    return answer.status, _decoded(answer.content)


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in content.splitlines()]
    except ValueError:
        return content
