"""A Hub that really serves, on a loopback port, from a thread; and a client that hides nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3

from kist.hub.app import make_app
from kist.hub.hub import Hub
from kist.hub.server import make_server


@dataclass
class Answer:
    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error's code."""
        return str(self.json["errors"][0]["code"])


class Client:
    def __init__(self, hub: Hub, url: str) -> None:
        self.hub = hub
        self.url = url
        self.host = url.removeprefix("http://")
        self.pool = urllib3.PoolManager(retries=False, timeout=20)

    def __call__(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None, **headers: str
    ) -> Answer:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.pool.request(method, self.url + path, body=body, headers=fields, redirect=False,
                                   decode_content=False)
        return Answer(answer.status, answer.headers, answer.data)

    def get(self, path: str, **headers: str) -> Answer:
        return self("GET", path, None, **headers)

    def form(self, path: str, values: dict[str, str], **headers: str) -> Answer:
        return self("POST", path, urlencode(values).encode(),
                    **{"Content_Type": "application/x-www-form-urlencoded", **headers})


@contextmanager
def serving(hub: Hub) -> Iterator[Client]:
    server = make_server(make_app(hub))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server ended"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.005)
    client = Client(hub, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}")
    try:
        yield client
    finally:
        client.pool.clear()
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
