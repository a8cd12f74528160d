"""The server's own part: slow clients, broken requests; and the configuration."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kist.errors import InvalidParameter
from kist.hub import gc, server
from kist.hub.config import HubConfig, load, split_listen
from kist.hub.server import ZeroCopyProtocol
from unit.hub.images import Image
from unit.hub.served import Client


def connect(client: Client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(client.host.rpartition(":")[2])), timeout=20)


def until_closed(raw: socket.socket, drip: bytes = b"") -> bytes:
    """What comes until the other side closes; sends ``drip`` now and then."""
    raw.settimeout(0.05)
    got, deadline = b"", time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            data = raw.recv(4096)
            if not data:
                return got
            got += data
        except TimeoutError:
            try:
                raw.sendall(drip)
            except OSError:
                return got
        except ConnectionError:
            return got
    raise AssertionError("still open")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ZeroCopyProtocol, "head_seconds", 0.3)
    monkeypatch.setattr(ZeroCopyProtocol, "body_seconds", 0.3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("first", "drip"), [
    (b"", b""), (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
    (b"POST /signin HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc", b"")])
def test_slow_clients_are_let_go(start: Callable[..., Client], first: bytes, drip: bytes) -> None:
    client = start()
    with connect(client) as raw:
        raw.sendall(first)
        until_closed(raw, drip)
    assert client.get("/healthz").status == 200


@pytest.mark.parametrize("request_bytes", [
    b"NONSENSE\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v2/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"])
def test_broken_requests_harm_nobody(client: Client, request_bytes: bytes) -> None:
    with connect(client) as raw:
        try:
            raw.sendall(request_bytes)
            answer = raw.recv(4096)
            assert answer.startswith(b"HTTP/1.1 4") or not answer
        except ConnectionError:
            pass
    assert client.get("/healthz").status == 200


def test_an_endless_body_that_was_refused_ends(client: Client) -> None:
    with connect(client) as raw:
        raw.sendall(b"PUT /v2/BAD/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 400")
        sent = 0
        try:
            while sent < 2 * server.MOST_DISCARDED:
                sent += raw.send(bytes(1 << 20))
        except ConnectionError:
            pass
        assert sent < 2 * server.MOST_DISCARDED
    assert client.get("/healthz").status == 200


def test_keep_alive_and_pipelining(client: Client) -> None:
    with connect(client) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /healthz HTTP/1.1\r\nConnection: close\r\n"
                    b"Host: x\r\n\r\n")
        assert until_closed(raw).count(b"HTTP/1.1 200") == 3


def test_configuration_from_a_file_and_options(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text('data = "/srv/hub"\nmax-blob = 5\naccounts = true\n[upstreams."docker.io"]\nusername = "me"\n')
    config = load(str(path), listen="127.0.0.1:1", max_blob=None)
    assert config == HubConfig(data=Path("/srv/hub"), listen="127.0.0.1:1", max_blob=5, accounts=True,
                               upstreams={"docker.io": {"username": "me"}})


@pytest.mark.parametrize("text", [
    "nonsense = 1", 'max-blob = "5"', "max-blob = -1", "max-blob = true", "x", 'accounts = "no"'])
def test_wrong_configuration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(text)
    with pytest.raises(InvalidParameter):
        load(str(path))


def test_addresses() -> None:
    assert split_listen("127.0.0.1:80") == ("127.0.0.1", 80)
    assert split_listen("[::1]:80") == ("::1", 80)
    for wrong in ("80", "a:b", "a:99999", ""):
        with pytest.raises(InvalidParameter):
            split_listen(wrong)


def test_the_caches_budget_takes_the_least_pulled_first(client: Client) -> None:
    hub = client.hub
    for name, day in (("up/old", "2026-01-01"), ("up/new", "2026-02-01"), ("own", "2025-01-01")):
        hub.metadata.ensure_repository(name, upstream=None if name == "own" else "up.example")
        Image([name.encode() * 1000]).push(client, name, "v1")
        hub.metadata.add_pulls({(name, day): 1})
    assert gc.evict(hub.content, 1_000_000) == []
    assert gc.evict(hub.content, 7_000) == ["up/old"]
    assert gc.evict(hub.content, 0) == ["up/new"]
    assert hub.metadata.repositories(10) == ["own"]
    assert gc.collect(hub.content, grace=-1).blobs == 2
