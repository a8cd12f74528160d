"""Requests at random to a real server: no 500 for a client's fault, no hang, nothing left, each answer as described."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import time
import zlib

import pytest

from support.daemon import Daemon
from system import api_schema
from system.api_http import ask
from unit.server.fuzz import Fuzz

LISTENER = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"
STATUSES = (101, 200, 201, 204, 304, 400, 401, 403, 404, 409, 501, 503)


@pytest.mark.parametrize("seed", range(4))
def test_no_request_breaks_the_server(daemon: Daemon, seed: int) -> None:
    box = ask(daemon, "POST", "/containers/create", {"Image": "busybox", "Cmd": ["sh", "-c", LISTENER]})[1]["Id"]
    ask(daemon, "POST", f"/containers/{box}/start")
    ids = [box, box[:12], "busybox"]
    fuzz = Fuzz(seed, ids)
    for _ in range(150):
        route = fuzz.route()
        if route.operation == "ImageDelete":
            continue  # the other tests' image
        method, target, body = fuzz.request(route)
        status, kind, content = _first(daemon, method, target, body, fuzz.headers())
        told = (method, target, body, content, daemon.log.read_text()[-4000:])
        assert status in STATUSES, told
        if status >= 400 and api_schema.PATH.exists():
            assert list(api_schema.answer_problems("", status, kind, content, head=method == "HEAD")) == [], told
        if status == 201 and b'"Id":"' in content:
            ids.append(content.split(b'"Id":"')[1].split(b'"')[0].decode())
    _whole_again(daemon)


@pytest.mark.parametrize("seed", range(3))
def test_no_stream_breaks_the_server(daemon: Daemon, seed: int) -> None:
    """Connections that were taken over: what comes, how much, and how they end, at random."""
    chance = random.Random(seed)
    words = {"Image": "busybox", "Cmd": ["cat"], "OpenStdin": True, "Tty": seed == 1}
    box = ask(daemon, "POST", "/containers/create", words)[1]["Id"]
    ask(daemon, "POST", f"/containers/{box}/start")
    for _ in range(60):
        _hijack(daemon, box, chance)
    _whole_again(daemon)
    assert ask(daemon, "GET", f"/containers/{box}/json")[1]["State"]["Running"] is True
    give_up = time.monotonic() + 20  # the execs' inputs have ended with their clients
    while len(ask(daemon, "GET", f"/containers/{box}/top")[1]["Processes"]) > 1:
        assert time.monotonic() < give_up
        time.sleep(0.05)


def _hijack(daemon: Daemon, box: str, chance: random.Random) -> None:
    """Attach, exec or websocket; noise, or a good frame in pieces; then an end of one of several kinds."""
    target, body = f"/containers/{box}/attach?stream=1&stdin=1&stdout=1&stderr=1&logs={chance.randrange(2)}", b""
    upgrade = chance.choice(["", "Connection: Upgrade\r\nUpgrade: tcp\r\n", "Connection: x\r\nUpgrade: x\r\n"])
    method, kind = "POST", chance.randrange(3)
    if kind == 1:
        made = ask(daemon, "POST", f"/containers/{box}/exec", {"Cmd": ["cat"], "AttachStdin": True,
                                                               "AttachStdout": True})
        target, body = f"/exec/{made[1]['Id']}/start", json.dumps({"Detach": False}).encode()
    elif kind == 2:
        method, target = "GET", target.replace("/attach?", "/attach/ws?")
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    noise = chance.randbytes(chance.choice([0, 1, 5, 100, 70_000])).replace(b"\x04", b"x").replace(b"\x03", b"x")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(daemon.socket))
        early = noise if chance.random() < 0.3 else b""
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: d\r\n{upgrade}Content-Length: {len(body)}\r\n\r\n"
                       .encode() + body + early)
        head = client.recv(65536)
        assert head.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")), head
        client.settimeout(0.1)  # there may be nothing to read
        try:
            client.sendall(_websocket(chance, noise) if kind == 2 else noise)
            end = chance.randrange(4)
            if end == 0:
                client.shutdown(socket.SHUT_WR)
                client.recv(65536)
            elif end == 1:
                client.recv(chance.choice([1, 65536])) if noise or early else None
            elif end == 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass  # the server ends a websocket that breaks the rules


def _websocket(chance: random.Random, payload: bytes) -> bytes:
    """A good frame, or one with some of its first bytes changed."""
    key = chance.randbytes(4)
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 65536 \
        else b"\xff" + struct.pack(">Q", size)
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    frame = bytearray(b"\x82" + length + key + masked)
    for _ in range(chance.choice([0, 0, 1, 3])):
        frame[chance.randrange(min(len(frame), 12))] = chance.randrange(256)
    return bytes(frame)


@pytest.mark.parametrize("seed", range(2))
def test_no_head_breaks_the_server(daemon: Daemon, seed: int) -> None:
    """Bytes where a request's head should be; archives and images that are none, in chunks, whole and cut off."""
    chance = random.Random(seed)
    ask(daemon, "POST", "/containers/create?name=box", {"Image": "busybox"})
    good = b"POST /v1.51/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n" \
           b'Content-Length: 19\r\n\r\n{"Image":"busybox"}'
    for _ in range(120):
        if chance.random() < 0.5:
            data = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                at = chance.randrange(len(data))
                data[at:at + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
        else:
            content = chance.choice([chance.randbytes(3000), zlib.compress(chance.randbytes(3000)), bytes(10240),
                                     b"\x1f\x8b" + chance.randbytes(500), b"x" * 512 + bytes(1024)])
            target = chance.choice(["PUT /containers/box/archive?path=/", "POST /images/load",
                                    "POST /images/create?fromSrc=-"])
            data = bytearray(f"{target} HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
                             f"{len(content):x}\r\n".encode() + content + chance.choice(
                                 [b"\r\n0\r\n\r\n", b"\r\nzz\r\n", b"", b"\r\n5\r\nab"]))
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(daemon.socket))
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(65536)
            assert not answer or int(answer.split(b" ")[1]) in (*STATUSES, 431), (bytes(data), answer)
    _whole_again(daemon)


def _whole_again(daemon: Daemon) -> None:
    """It answers, has nothing to complain about, holds no client's descriptor; what was made goes."""
    assert ask(daemon, "GET", "/_ping")[0] == 200
    assert "Traceback" not in daemon.log.read_text()
    give_up = time.monotonic() + 20
    while (count := len(os.listdir(f"/proc/{daemon.process.pid}/fd"))) > 400:
        assert time.monotonic() < give_up, f"{count} descriptors"
        time.sleep(0.05)
    for volume in ask(daemon, "GET", "/volumes")[1]["Volumes"] or []:
        ask(daemon, "DELETE", f"/volumes/{volume['Name']}?force=1")
    ask(daemon, "POST", "/images/prune")  # a file of zeros is an archive, and so an image
    for network in ask(daemon, "GET", "/networks")[1]:
        if network["Name"] not in ("bridge", "host", "none"):
            ask(daemon, "DELETE", f"/networks/{network['Id']}")


def _first(daemon: Daemon, method: str, target: str, body: bytes, headers: str) -> tuple[int, str, bytes]:
    """The status, the type, and what follows at once (a short answer whole); a stream is left after its head."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(daemon.socket))
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: d\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode()
                       + body)
        data = b""
        while b"\r\n\r\n" not in data:
            more = client.recv(65536)
            assert more, (method, target, body, data)
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        found = {name.lower(): value for name, _, value in (
            line.partition(": ") for line in head.decode("latin-1").split("\r\n")[1:])}
        while method != "HEAD" and len(rest) < int(found.get("content-length", 0)):
            rest += client.recv(65536)
        return int(head.split(b" ")[1]), found.get("content-type", ""), rest
