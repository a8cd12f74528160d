"""Streams of the API by hand, byte for byte: attach with early stdin, exec, websocket, wait, logs, upload."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kist.api.frames import FrameDecoder
from support.daemon import Daemon, docker_command
from system.api_http import ask

UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


@contextmanager
def _sent(daemon: Daemon, method: str, target: str, headers: str = "", body: Any = None) -> Iterator[socket.socket]:
    """A connection on which a request was sent, and nothing read."""
    data = b"" if body is None else json.dumps(body).encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(daemon.socket))
        client.sendall(f"{method} {target} HTTP/1.1\r\nHost: d\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode()
                       + data)
        yield client


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    """(status line, what came behind the head)."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        assert more, data
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], rest


def _rest(client: socket.socket) -> bytes:
    pieces = []
    while piece := client.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def _create(daemon: Daemon, words: list[str], **body: Any) -> str:
    status, made = ask(daemon, "POST", "/containers/create", {"Image": "busybox", "Cmd": words, **body})
    assert status == 201, made
    id: str = made["Id"]
    return id


@pytest.mark.parametrize("upgrade", [UPGRADE, ""])
def test_stdin_that_came_early_and_its_end_reach_the_container(daemon: Daemon, upgrade: str) -> None:
    id = _create(daemon, ["cat"], OpenStdin=True, StdinOnce=True, AttachStdin=True)
    with _sent(daemon, "POST", f"/containers/{id}/attach?stream=1&stdin=1&stdout=1", upgrade) as client:
        client.sendall(b"early bird")
        client.shutdown(socket.SHUT_WR)
        line, rest = _head(client)
        assert line == (b"HTTP/1.1 101 UPGRADED" if upgrade else b"HTTP/1.1 200 OK")
        assert ask(daemon, "POST", f"/containers/{id}/start")[0] == 204
        assert rest + _rest(client) == b"\1\0\0\0\0\0\0\nearly bird"


def test_attach_goes_on_without_the_server(make_daemon: Any) -> None:
    daemon = make_daemon()
    daemon.ok("pull", "-q", "busybox")
    id = _create(daemon, ["cat"], OpenStdin=True, StdinOnce=True, Tty=False)
    with _sent(daemon, "POST", f"/containers/{id}/attach?stream=1&stdin=1&stdout=1", UPGRADE) as client:
        _head(client)
        ask(daemon, "POST", f"/containers/{id}/start")
        daemon.kill()
        client.sendall(b"still there")
        client.shutdown(socket.SHUT_WR)
        assert _rest(client) == b"\1\0\0\0\0\0\0\x0bstill there"
    daemon.start()
    assert ask(daemon, "POST", f"/containers/{id}/wait")[1]["StatusCode"] == 0


def test_a_websocket_carries_the_stream(daemon: Daemon) -> None:
    id = _create(daemon, ["head", "-n", "1"], OpenStdin=True, StdinOnce=True, Tty=False)
    with _sent(daemon, "GET", f"/containers/{id}/attach/ws?stream=1&stdin=1&stdout=1", (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")) as client:
        assert _head(client)[0] == b"HTTP/1.1 101 Switching Protocols"
        ask(daemon, "POST", f"/containers/{id}/start")
        client.sendall(b"\x81\x83\0\0\0\0hi\n")  # a text frame, masked with zeros
        assert _rest(client) == b"\x82\x03hi\n\x88\x02\x03\xe8"


def test_several_clients_share_a_container(daemon: Daemon) -> None:
    """Two commands and a websocket: what one sends all see; one that is killed or doesn't read hinders nobody."""
    box = daemon.ok("run", "-di", "--name", "box", "busybox", "sh", "-c", "while read line; do echo got $line; done")
    commands = [subprocess.Popen([docker_command(), "attach", "box"], env=daemon.env, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE) for _ in range(3)]
    try:
        first, second, silent = commands
        assert first.stdin and first.stdout and second.stdin and second.stdout and silent.stdin
        with _sent(daemon, "GET", "/containers/box/attach/ws?stream=1&stdin=1&stdout=1", (
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")) as web:
            _head(web)
            give_up = time.monotonic() + 20
            while sum(event["Action"] == "attach" for event in _events(daemon, box)) < 4:
                assert time.monotonic() < give_up
                time.sleep(0.05)
            first.stdin.write(b"one\n")
            first.stdin.flush()
            assert first.stdout.readline() == second.stdout.readline() == b"got one\n"
            assert web.recv(100) == b"\x82\x08got one\n"
            web.sendall(b"\x81\x84\0\0\0\0two\n")
            assert first.stdout.readline() == second.stdout.readline() == b"got two\n"
            assert web.recv(100) == b"\x82\x08got two\n"
            first.kill()
            second.stdin.write(b"three\n")
            second.stdin.flush()
            assert second.stdout.readline() == b"got three\n"
            assert web.recv(100) == b"\x82\x0agot three\n"
        second.stdin.write(b"x" * 60_000 + b"\n")  # the websocket has vanished, and `silent` reads nothing
        second.stdin.flush()
        assert len(second.stdout.readline()) == 60_005
    finally:
        for command in commands:
            command.kill()
            command.communicate()
    assert daemon.ok("inspect", "-f", "{{.State.Running}}", "box") == "true"


def _events(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    said = daemon.ok("events", "--since", "1", "--until", str(time.time()), "--filter", f"container={name}",
                     "--format", "{{json .}}")
    return [json.loads(line) for line in said.splitlines()]


def test_wait_answers_its_head_at_once_and_its_body_at_the_end(daemon: Daemon) -> None:
    id = _create(daemon, ["sh", "-c", "exit 7"], HostConfig={"AutoRemove": True})
    with _sent(daemon, "POST", f"/containers/{id}/wait?condition=removed") as client:
        line, rest = _head(client)
        assert (line, rest) == (b"HTTP/1.1 200 OK", b"")
        ask(daemon, "POST", f"/containers/{id}/start")
        assert b'"StatusCode":7' in client.recv(4096)
    assert ask(daemon, "GET", f"/containers/{id}/json")[0] == 404


def test_an_exec_and_its_stdin(daemon: Daemon) -> None:
    id = _create(daemon, ["sleep", "1000"])
    ask(daemon, "POST", f"/containers/{id}/start")
    made = ask(daemon, "POST", f"/containers/{id}/exec", {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True})[1]
    data = os.urandom(1 << 20)
    with _sent(daemon, "POST", f"/exec/{made['Id']}/start", UPGRADE, {"Tty": True}) as client:
        # Tty of the start request doesn't matter: the exec was created without.
        _, rest = _head(client)
        client.sendall(data[:100])
        rest += client.recv(65536)
        client.shutdown(socket.SHUT_WR)
        assert rest + _rest(client) == b"\1\0\0\0\0\0\0\x64" + data[:100]
    assert ask(daemon, "GET", f"/exec/{made['Id']}/json")[1]["ExitCode"] == 0


def test_the_head_of_an_exec_comes_alone(daemon: Daemon) -> None:
    """However late it is read: docker-py drops what its buffered reader got along with it."""
    id = _create(daemon, ["sleep", "1000"])
    ask(daemon, "POST", f"/containers/{id}/start")
    for _ in range(5):
        made = ask(daemon, "POST", f"/containers/{id}/exec", {"Cmd": ["echo", "out"], "AttachStdout": True})[1]
        with _sent(daemon, "POST", f"/exec/{made['Id']}/start", UPGRADE, {}) as client:
            time.sleep(0.1)
            first = client.recv(8192)
            assert first.startswith(b"HTTP/1.1 101 ") and first.endswith(b"\r\n\r\n"), first
            assert _rest(client) == b"\1\0\0\0\0\0\0\4out\n"


@pytest.mark.parametrize("started", ["before", "after"])
@pytest.mark.parametrize("query", ["stream=1&stdout=1", "logs=1&stream=1&stdout=1"])
def test_the_head_of_an_attach_comes_alone(daemon: Daemon, started: str, query: str) -> None:
    """Whether the container writes already, begins to, or has written: the head is read late, and the rest is whole."""
    id = _create(daemon, ["sh", "-c", "n=0; while [ ! -e /end ]; do n=$((n+1)); echo $n; sleep 0.01; done"])
    if started == "before":
        ask(daemon, "POST", f"/containers/{id}/start")
    with _sent(daemon, "POST", f"/containers/{id}/attach?{query}", UPGRADE) as client:
        if started == "after":
            while not [event for event in _events(daemon, id) if event["Action"] == "attach"]:
                time.sleep(0.01)
            ask(daemon, "POST", f"/containers/{id}/start")
        time.sleep(0.1)
        first = client.recv(8192)
        assert first.startswith(b"HTTP/1.1 101 ") and first.endswith(b"\r\n\r\n"), first
        daemon.ok("exec", id, "touch", "/end")
        numbers = [int(line) for _, data in FrameDecoder().feed(_rest(client)) for line in bytes(data).split()]
    assert numbers == sorted(set(numbers))
    if "logs" in query or started == "after":
        assert numbers[0] == 1
    if "logs" not in query:  # (between the log and the stream something may be missing, in Docker, too)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert len(numbers) > 5


def test_logs_follow_until_the_end(daemon: Daemon) -> None:
    id = _create(daemon, ["sh", "-c", "echo one; read x; echo two"], OpenStdin=True, StdinOnce=True, Tty=False)
    with _sent(daemon, "POST", f"/containers/{id}/attach?stream=1&stdin=1", UPGRADE) as stdin:
        _head(stdin)
        ask(daemon, "POST", f"/containers/{id}/start")
        with _sent(daemon, "GET", f"/containers/{id}/logs?follow=1&stdout=1") as client:
            _, seen = _head(client)
            while b"one\n" not in seen:
                seen += client.recv(4096)
            stdin.sendall(b"\n")
            while not seen.endswith(b"0\r\n\r\n"):
                more = client.recv(4096)
                assert more, seen
                seen += more
            assert b"\1\0\0\0\0\0\0\4two\n" in seen


def test_files_go_in_and_out_as_archives(daemon: Daemon) -> None:
    id = _create(daemon, ["true"])
    data = os.urandom(3 << 20)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("big")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    assert ask(daemon, "PUT", f"/containers/{id}/archive?path=/tmp", packed.getvalue()) == (200, [])
    status, answer = ask(daemon, "GET", f"/containers/{id}/archive?path=/tmp/big")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(answer)) as tar:
        member = tar.extractfile("big")
        assert member is not None
        assert member.read() == data
    assert ask(daemon, "GET", f"/containers/{id}/archive?path=/nosuch")[0] == 404
    assert ask(daemon, "HEAD", f"/containers/{id}/archive?path=/tmp/big")[0] == 200
