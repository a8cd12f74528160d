"""Requests at random over every route: no 500, no hang, and the server lives on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from kist.server.serve import Server
from unit.server.fake_engine import FakeEngine
from unit.server.fuzz import Fuzz
from unit.server.wire import connected

UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


@pytest.mark.parametrize("seed", range(12))
async def test_no_request_is_the_servers_fault(server: Server, engine: FakeEngine, tmp_path: Path, seed: int,
                                               caplog: pytest.LogCaptureFixture) -> None:
    ids = ["abc", "def"]
    fuzz = Fuzz(seed, ids)
    for _ in range(150):
        method, target, body = fuzz.request(fuzz.route())
        async with connected(str(tmp_path / "s")) as wire:
            wire.request(method, target, body, UPGRADE if b"Detach" in body else "")
            head = await asyncio.wait_for(wire.head(), 10)
            assert head.status in (101, 200, 201, 204, 304, 400, 404, 409, 501), (method, target, body)
            if head.status == 201 and head.headers.get("content-length"):
                made = await wire.reader.readexactly(int(head.headers["content-length"]))
                ids.append(made.split(b'"Id":"')[-1].split(b'"')[0].decode("utf-8", "replace"))
    assert not [r for r in caplog.records if r.exc_info], caplog.text
    async with connected(str(tmp_path / "s")) as wire:
        assert (await wire.ask("GET", "/_ping")).body == b"OK"


@pytest.mark.parametrize("seed", range(8))
async def test_bytes_at_random_do_no_harm(server: Server, tmp_path: Path, seed: int,
                                          caplog: pytest.LogCaptureFixture) -> None:
    """Valid requests with some bytes changed, cut or doubled."""
    source = random.Random(seed)
    valid = (b"POST /containers/create?name=x HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
             b"13\r\n{\"Image\":\"busybox\"}\r\n0\r\n\r\nGET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
    for _ in range(100):
        data = bytearray(valid)
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(data))
            data[at : at + source.randrange(3)] = source.randbytes(source.randrange(3))
        async with connected(str(tmp_path / "s")) as wire:
            wire.send(bytes(data))
            wire.writer.write_eof()
            said = await wire.rest()
            assert b" 500 " not in said
    assert not [r for r in caplog.records if r.exc_info], caplog.text
    async with connected(str(tmp_path / "s")) as wire:
        assert (await wire.ask("GET", "/_ping")).body == b"OK"
