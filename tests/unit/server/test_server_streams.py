"""Connections that are taken over: attach, exec, websocket."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kist.server import websocket
from unit.server.fake_engine import FakeEngine
from unit.server.wire import Wire, connected

UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


async def _create(wire: Wire, cmd: list[str], **body: object) -> str:
    answer = await wire.ask("POST", "/containers/create", {"Image": "busybox", "Cmd": cmd, **body})
    id: str = answer.json["Id"]
    return id


async def test_attach_streams_frames_to_the_clients_own_connection(wire: Wire, second: Wire) -> None:
    id = await _create(wire, ["sh", "-c", "echo out; echo err >&2"])
    second.request("POST", f"/containers/{id}/attach?stream=1&stdout=1&stderr=1", headers=UPGRADE)
    head = await second.answer()
    assert head.status == 101
    assert head.headers["upgrade"] == "tcp"
    assert head.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    await wire.ask("POST", f"/containers/{id}/start")
    seen = await second.rest()
    assert seen in (b"\1\0\0\0\0\0\0\4out\n\2\0\0\0\0\0\0\4err\n", b"\2\0\0\0\0\0\0\4err\n\1\0\0\0\0\0\0\4out\n")


async def test_attach_without_upgrade_is_a_200_without_length(wire: Wire, second: Wire) -> None:
    id = await _create(wire, ["echo", "out"], Tty=True)
    second.request("POST", f"/containers/{id}/attach?stream=1&stdout=1")
    head = await second.head()
    assert (head.status, head.headers) == (200, {"content-type": "application/vnd.docker.raw-stream"})
    await wire.ask("POST", f"/containers/{id}/start")
    assert await second.rest() == b"out\n"


@pytest.mark.parametrize("upgrade", [UPGRADE, ""])
async def test_stdin_that_came_with_the_request_and_its_end_are_kept(wire: Wire, second: Wire, upgrade: str) -> None:
    id = await _create(wire, ["cat"], OpenStdin=True, StdinOnce=True, Tty=True)
    second.send(f"POST /containers/{id}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: d\r\n{upgrade}\r\nearly "
                .encode())
    second.send(b"bird")
    second.writer.write_eof()
    await second.head()
    await wire.ask("POST", f"/containers/{id}/start")
    assert await second.rest() == b"early bird"


async def test_much_goes_through_byte_for_byte(wire: Wire, second: Wire) -> None:
    id = await _create(wire, ["cat"], OpenStdin=True, StdinOnce=True, Tty=True)
    second.request("POST", f"/containers/{id}/attach?stream=1&stdin=1&stdout=1", headers=UPGRADE)
    await second.answer()
    await wire.ask("POST", f"/containers/{id}/start")
    data = os.urandom(4 << 20)

    async def feed() -> None:
        second.send(data)
        await second.writer.drain()
        second.writer.write_eof()

    feeder = asyncio.create_task(feed())
    assert await second.rest() == data
    await feeder


async def test_attach_to_nothing_is_an_ordinary_error(wire: Wire) -> None:
    answer = await wire.ask("POST", "/containers/nosuch/attach?stream=1", headers=UPGRADE)
    assert (answer.status, answer.message) == (404, "No such container: nosuch")
    assert (await wire.ask("GET", "/_ping")).status == 200  # the connection goes on


async def test_a_parked_client_that_left_leaves_no_descriptor(wire: Wire, engine: FakeEngine, tmp_path: Path) -> None:
    id = await _create(wire, ["true"])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        async with connected(str(tmp_path / "s")) as leaving:
            leaving.request("POST", f"/containers/{id}/attach?stream=1&stdout=1", headers=UPGRADE)
            await leaving.answer()
    assert (await wire.ask("DELETE", f"/containers/{id}")).status == 204
    await wire.ask("GET", "/_ping")
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_exec_runs_with_its_streams(wire: Wire, second: Wire) -> None:
    id = await _create(wire, ["sleep", "60"])
    await wire.ask("POST", f"/containers/{id}/start")
    made = await wire.ask("POST", f"/containers/{id}/exec",
                          {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True})
    second.request("POST", f"/exec/{made.json['Id']}/start", {"Detach": False}, headers=UPGRADE)
    second.send(b"typed")
    second.writer.write_eof()
    assert (await second.answer()).status == 101
    assert await second.rest() == b"\1\0\0\0\0\0\0\5typed"


async def test_an_exec_that_can_not_run_says_why_in_its_stream(wire: Wire, second: Wire) -> None:
    id = await _create(wire, ["sleep", "60"])
    await wire.ask("POST", f"/containers/{id}/start")
    made = await wire.ask("POST", f"/containers/{id}/exec", {"Cmd": ["nosuchprogram"], "AttachStdout": True})
    second.request("POST", f"/exec/{made.json['Id']}/start", {}, headers=UPGRADE)
    await second.answer()
    text = b'exec: "nosuchprogram": executable file not found in $PATH\r\n'
    assert await second.rest() == bytes((1, 0, 0, 0, 0, 0, 0, len(text))) + text
    assert (await wire.ask("GET", f"/exec/{made.json['Id']}/json")).json["ExitCode"] == 127


async def test_a_detached_exec_that_can_not_run_is_an_error(wire: Wire) -> None:
    id = await _create(wire, ["sleep", "60"])
    await wire.ask("POST", f"/containers/{id}/start")
    made = await wire.ask("POST", f"/containers/{id}/exec", {"Cmd": ["nosuchprogram"]})
    answer = await wire.ask("POST", f"/exec/{made.json['Id']}/start", {"Detach": True})
    assert answer.status == 400
    made = await wire.ask("POST", f"/containers/{id}/exec", {"Cmd": ["true"]})
    assert (await wire.ask("POST", f"/exec/{made.json['Id']}/start", {"Detach": True})).status == 200


async def test_exec_without_a_command_or_a_running_container_is_refused(wire: Wire) -> None:
    id = await _create(wire, ["true"])
    answer = await wire.ask("POST", f"/containers/{id}/exec", {"Cmd": []})
    assert (answer.status, answer.message) == (400, "No exec command specified")
    assert (await wire.ask("POST", f"/containers/{id}/exec", {"Cmd": ["true"]})).status == 409


# -- websocket


def _masked(opcode: int, payload: bytes, key: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A client's frame (RFC 6455 §5.3), made without the code under test."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


async def test_a_websocket_carries_the_stream_both_ways(wire: Wire, second: Wire) -> None:
    id = await _create(wire, ["cat"], OpenStdin=True, StdinOnce=True)
    second.request("GET", f"/containers/{id}/attach/ws?stream=1&stdin=1&stdout=1", headers=(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"))
    head = await second.answer()
    assert head.status == 101
    assert head.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3
    await wire.ask("POST", f"/containers/{id}/start")
    second.send(_masked(websocket.TEXT, b"hello"))
    assert await second.reader.readexactly(7) == b"\x82\x05hello"
    second.send(_masked(websocket.PING, b"?"))
    assert await second.reader.readexactly(3) == b"\x8a\x01?"
    second.send(_masked(websocket.CLOSE, b"\x03\xe8"))
    assert await second.rest() == b"\x88\x02\x03\xe8"
    assert (await wire.ask("POST", f"/containers/{id}/wait")).json == {"StatusCode": 0}  # its stdin has ended


async def test_a_websocket_ends_with_its_container(wire: Wire, second: Wire) -> None:
    id = await _create(wire, ["echo", "bye"])
    second.request("GET", f"/containers/{id}/attach/ws?stream=1&stdout=1", headers=(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"))
    await second.answer()
    await wire.ask("POST", f"/containers/{id}/start")
    assert await second.rest() == b"\x82\x04bye\n\x88\x02\x03\xe8"


async def test_attach_ws_without_a_websocket_is_refused(wire: Wire) -> None:
    id = await _create(wire, ["true"])
    assert (await wire.ask("GET", f"/containers/{id}/attach/ws")).status == 400
