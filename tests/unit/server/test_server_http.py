"""The HTTP connection: framing, order, bounds, errors, clients that leave."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kist.server import http
from kist.server.listen import Address
from kist.server.message import BODY_LIMIT
from kist.server.serve import Server
from unit.server.fake_engine import FakeEngine
from unit.server.wire import Wire, connected

GET = b"GET %b HTTP/1.1\r\nHost: d\r\n\r\n"


async def test_requests_follow_each_other_on_one_connection(wire: Wire) -> None:
    for _ in range(3):
        answer = await wire.ask("GET", "/_ping")
        assert (answer.status, answer.body) == (200, b"OK")


async def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    wire.send(GET % b"/_ping" + GET % b"/containers/nosuch/json" + GET % b"/v1.40/version")
    assert [(await wire.answer()).status for _ in range(3)] == [200, 404, 200]


async def test_a_request_may_come_byte_by_byte(wire: Wire) -> None:
    for byte in GET % b"/_ping":
        wire.send(bytes([byte]))
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert (await wire.answer()).body == b"OK"


async def test_many_pipelined_requests_stop_the_reading_and_none_is_lost(wire: Wire) -> None:
    count = 2 * http.BUFFER_LIMIT // len(GET)
    wire.send(GET % b"/_ping" * count)
    for _ in range(count):
        assert (await wire.answer()).status == 200


async def test_a_chunked_body_is_put_together(wire: Wire) -> None:
    body = b'{"Image": "busybox"}'
    wire.send(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in body:
        wire.send(b"1\r\n%c\r\n" % byte)
        await wire.writer.drain()
    wire.send(b"0\r\n\r\n")
    assert (await wire.answer()).status == 201


async def test_a_client_that_expects_100_is_told_to_go_on(wire: Wire) -> None:
    wire.send(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 19\r\n\r\n")
    assert (await wire.answer()).status == 100
    wire.send(b'{"Image":"busybox"}')
    assert (await wire.answer()).status == 201


async def test_a_client_that_expects_100_gets_the_refusal_instead(wire: Wire) -> None:
    wire.send(b"POST /swarm/init HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n")
    assert (await wire.answer()).status == 501


async def test_head_has_the_length_and_no_body(wire: Wire) -> None:
    answer = await wire.ask("HEAD", "/_ping")
    assert answer.status == 200
    assert (await wire.ask("GET", "/_ping")).body == b"OK"  # so nothing came behind the head


async def test_http_1_0_ends_with_the_connection(wire: Wire) -> None:
    wire.send(b"GET /_ping HTTP/1.0\r\n\r\n")
    assert (await wire.rest()).endswith(b"\r\n\r\nOK")


async def test_connection_close_is_heeded(wire: Wire) -> None:
    answer = await wire.ask("GET", "/_ping", headers="Connection: close\r\n")
    assert answer.headers["connection"] == "close"
    assert await wire.rest() == b""


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n",
                                      b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: d\r\nA\r\n\r\n"])
async def test_what_is_no_http_is_a_bad_request_and_the_end(wire: Wire, nonsense: bytes) -> None:
    wire.send(nonsense)
    answer = await wire.answer()
    assert answer.status == 400
    assert answer.message.startswith("invalid request: ")
    wire.writer.write_eof()
    assert await wire.rest() == b""


async def test_an_endless_head_is_refused(wire: Wire) -> None:
    wire.send(b"GET / HTTP/1.1\r\nHost: d\r\nX: " + b"x" * (http.HEAD_LIMIT + 1000))
    assert (await wire.answer()).status == 431


async def test_a_body_beyond_the_limit_is_refused_and_the_answer_arrives(wire: Wire) -> None:
    wire.request("POST", "/containers/create", b" " * (BODY_LIMIT + (8 << 20)))
    answer = await wire.answer()
    assert answer.status == 400
    assert answer.message == f"the request's body is longer than {BODY_LIMIT} bytes"
    assert answer.headers["api-version"]


async def test_a_broken_chunk_ends_the_connection_and_not_the_server(wire: Wire, second: Wire) -> None:
    wire.send(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    await wire.rest()
    assert (await second.ask("GET", "/_ping")).status == 200


async def test_a_body_that_is_cut_off_creates_nothing(wire: Wire, second: Wire, engine: FakeEngine) -> None:
    wire.send(b'POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 99\r\n\r\n{"Image":"busybox"}')
    wire.writer.write_eof()
    await wire.rest()
    assert (await second.ask("GET", "/_ping")).status == 200
    assert engine.containers.all == {}


async def test_a_large_body_is_streamed(wire: Wire, engine: FakeEngine) -> None:
    size = 16 << 20
    wire.send(b"POST /images/create?fromSrc=-&repo=x HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(16):
        wire.send(bytes(1 << 20))
        await wire.writer.drain()
    answer = await wire.answer()
    assert answer.body == b'{"stream":"Loaded %d\\n"}\r\n' % size


async def test_a_client_that_leaves_ends_its_stream(wire: Wire, engine: FakeEngine) -> None:
    wire.request("GET", "/events")
    await wire.head()
    assert engine.events.subscribers == 1
    await wire.close()
    await _until(lambda: engine.events.subscribers == 0)


async def test_a_client_that_only_shuts_its_side_keeps_its_stream(wire: Wire, engine: FakeEngine) -> None:
    wire.request("GET", "/events")
    wire.writer.write_eof()
    await wire.head()
    engine.events.new.put_nowait({"Type": "container"})
    assert await wire.chunk() == b'{"Type":"container"}\n'
    await wire.close()
    await _until(lambda: engine.events.subscribers == 0)


async def test_an_unforeseen_error_tells_the_client_nothing_of_its_inside(
        wire: Wire, engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    engine.system = None  # type: ignore[assignment]
    answer = await wire.ask("GET", "/info")
    assert (answer.status, answer.message) == (500, "internal error: the server's log tells more")
    assert "AttributeError" in caplog.text
    assert (await wire.ask("GET", "/_ping")).status == 200


@pytest.mark.parametrize(("sent", "timeouts"), [
    (b"", http.Timeouts(idle=0.01)),
    (b"GET / HT", http.Timeouts(head=0.01)),
    (b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\n", http.Timeouts(body=0.01)),
])
async def test_a_client_that_says_no_more_is_left(engine: FakeEngine, tmp_path: Path, sent: bytes,
                                                  timeouts: http.Timeouts) -> None:
    address = Address(path=str(tmp_path / "s"))
    async with Server(engine, [address], timeouts=timeouts), connected(address.path) as slow:
        slow.send(sent)
        assert await slow.rest() == b""


async def test_the_server_ends_while_clients_wait(engine: FakeEngine, tmp_path: Path) -> None:
    address = Address(path=str(tmp_path / "s"))
    async with AsyncExitStack() as clients:
        async with Server(engine, [address]):
            idle = await clients.enter_async_context(connected(address.path))
            busy = await clients.enter_async_context(connected(address.path))
            busy.request("GET", "/events")
            await busy.head()
        assert await idle.rest() == b""
        assert engine.events.subscribers == 0
    assert not (tmp_path / "s").exists()


async def _until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
