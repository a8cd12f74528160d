"""Streams between a process's pipes and its clients: order, half-close, slow, stuck and vanishing clients."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kist.api.frames import FrameDecoder, frame
from kist.launcher import clients
from kist.launcher.detach import DetachKeys
from kist.launcher.loop import Loop
from kist.launcher.pipes import Pipes
from kist.launcher.protocol import Attach
from kist.launcher.spill import Spill
from kist.launcher.streams import Streams


class MemoryLog:
    def __init__(self) -> None:
        self.written = {"stdout": b"", "stderr": b""}

    def write(self, stream: str, data: bytes) -> None:
        self.written[stream] += data

    def close(self) -> None:
        pass


class Bench:
    """Streams with the process's ends in the test's hands."""

    def __init__(self, directory: Path, *, stdin_once: bool = True, tty: bool = False) -> None:
        self.loop = Loop()
        self.log = MemoryLog()
        self.detaches = 0
        self.pipes = Pipes().open(stdin=True, output=True)
        self.loop.open()
        self.streams = Streams(self.loop, on_detach=self._detach, on_quiet=lambda: None)
        self.streams.configure(tty=tty, stdin_once=stdin_once, spill_directory=str(directory))
        self.streams.log = self.log
        self.stdin, self.stdout, self.stderr = self.pipes.child
        self.streams.use_pipes(self.pipes.stdin, self.pipes.stdout, self.pipes.stderr)

    def _detach(self) -> None:
        self.detaches += 1

    def attach(self, *, stdin: bool = True, framed: bool = False, keys: bytes = b"", preread: bytes = b"",
               stdout: bool = True, stderr: bool = True, head: bytes = b"") -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.send(head)
        self.streams.attach(Attach(0, stdin=stdin, stdout=stdout, stderr=stderr, framed=framed,
                                   detach_keys=keys, preread=preread), theirs.detach())
        ours.settimeout(10)
        return ours

    def turn(self, seconds: float = 0.02) -> None:
        """Let the loop work for a moment."""
        self.loop.after("test", seconds, self.loop.stop)
        self.loop.run()

    def until(self, done: Callable[[], bool], seconds: float = 20) -> None:
        give_up = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < give_up, "it never came"
            self.turn(0.01)

    def exit(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdin = self.stdout = self.stderr = -1
        self.streams.drain()
        self.streams.end()

    def close(self) -> None:
        self.exit()
        for client in list(self.streams._clients):
            client.drop()
        self.streams.close_sources()
        self.loop.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_output_goes_to_the_log_and_to_every_client(bench: Bench) -> None:
    plain, framed = bench.attach(), bench.attach(framed=True)
    only_errors = bench.attach(stdout=False)
    os.write(bench.stdout, b"out\n")
    bench.turn()
    os.write(bench.stderr, b"err\n")
    bench.turn()
    assert plain.recv(100) == b"out\nerr\n"
    assert framed.recv(100) == frame(1, b"out\n") + frame(2, b"err\n")
    assert only_errors.recv(100) == b"err\n"
    assert bench.log.written == {"stdout": b"out\n", "stderr": b"err\n"}
    bench.exit()
    assert plain.recv(100) == framed.recv(100) == only_errors.recv(100) == b""


def test_nothing_comes_along_with_the_head(bench: Bench) -> None:
    """Clients that read the head by a buffer lose what does."""
    client = bench.attach(head=b"HTTP/1.1 101 ", framed=True)
    os.write(bench.stdout, b"out\n")
    bench.turn()
    os.write(bench.stdout, b"more\n")
    bench.exit()
    bench.turn()
    assert client.recv(100) == b"HTTP/1.1 101 "
    bench.until(lambda: bench.streams.quiet)
    assert client.recv(100) == frame(1, b"out\n") + frame(1, b"more\n")
    assert client.recv(100) == b""


def test_a_head_that_nobody_reads_holds_nothing_up(bench: Bench) -> None:
    client = bench.attach(head=b"HTTP/1.1 101 ")
    vanished = bench.attach(head=b"HTTP/1.1 101 ")
    os.write(bench.stdout, b"out\n")
    bench.turn()
    vanished.close()
    bench.exit()
    bench.until(lambda: bench.streams.quiet)
    assert client.recv(100) == b"HTTP/1.1 101 out\n"


def test_half_close_is_the_end_of_input(bench: Bench) -> None:
    client = bench.attach(preread=b"first ")
    client.sendall(b"second")
    client.shutdown(socket.SHUT_WR)
    bench.turn()
    assert os.read(bench.stdin, 100) == b"first second"
    assert os.read(bench.stdin, 100) == b""
    os.write(bench.stdout, b"answer")
    bench.turn()
    assert client.recv(100) == b"answer"


def test_input_of_a_client_that_left_at_once_arrives(bench: Bench) -> None:
    client = bench.attach()
    client.sendall(b"x" * 50_000)
    client.close()
    os.write(bench.stdout, b"nobody reads this")
    bench.turn()
    got = b""
    while piece := os.read(bench.stdin, 65536):
        got += piece
    assert got == b"x" * 50_000


def test_without_stdin_once_input_stays_open_for_the_next_client(tmp_path: Path) -> None:
    bench = Bench(tmp_path, stdin_once=False)
    first = bench.attach()
    first.sendall(b"one ")
    first.shutdown(socket.SHUT_WR)
    bench.turn()
    assert first.recv(100) == b""  # the end of the input ends this attachment, as in Docker
    second = bench.attach()
    second.sendall(b"two")
    bench.turn()
    assert os.read(bench.stdin, 100) == b"one two"
    bench.close()


def test_detach_keys_end_the_attachment_only(bench: Bench) -> None:
    client = bench.attach(keys=b"\x10\x11")
    client.sendall(b"ab\x10")
    bench.turn()
    assert os.read(bench.stdin, 100) == b"ab"
    client.sendall(b"\x11ignored")
    bench.turn()
    assert client.recv(100) == b""
    assert bench.detaches == 1
    assert bench.streams.quiet
    another = bench.attach()
    another.sendall(b"still here")
    bench.turn()
    assert os.read(bench.stdin, 100) == b"still here"


@pytest.mark.parametrize(("reads", "passed", "detached"), [
    ([b"abc"], b"abc", False),
    ([b"a\x10\x11b"], b"a", True),
    ([b"\x10", b"\x11"], b"", True),
    ([b"\x10", b"x"], b"\x10x", False),
    ([b"\x10\x10"], b"\x10\x10", False),
    ([b"\x10\x10\x11"], b"\x10\x10\x11", False),
    ([b"\x10"], b"", False),
])
def test_detach_keys(reads: list[bytes], passed: bytes, detached: bool) -> None:
    keys = DetachKeys(b"\x10\x11")
    results = [keys.feed(read) for read in reads]
    assert (b"".join(out for out, _ in results), results[-1][1]) == (passed, detached)


def test_no_keys_no_detaching() -> None:
    assert DetachKeys(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


def read_all(sock: socket.socket, into: list[bytes], delay: float = 0) -> threading.Thread:
    def work() -> None:
        while piece := sock.recv(1 << 16):
            into.append(piece)
            if delay:
                time.sleep(delay)
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def write_all(fd: int, data: bytes) -> threading.Thread:
    def work() -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("framed", [False, True])
def test_bulk_output_arrives_byte_for_byte(bench: Bench, framed: bool) -> None:
    data = os.urandom(1 << 20) * 24
    client = bench.attach(framed=framed)
    got: list[bytes] = []
    reader, writer = read_all(client, got), write_all(bench.stdout, data)
    bench.until(lambda: not writer.is_alive())
    bench.exit()
    bench.until(lambda: not reader.is_alive())
    received = b"".join(got)
    if framed:
        decoder = FrameDecoder()
        received = b"".join(bytes(piece) for _, piece in decoder.feed(received))
        decoder.close()
    assert received == data == bench.log.written["stdout"]


@pytest.mark.parametrize("keys", [b"", b"\x00never\x00"])
def test_bulk_input_arrives_byte_for_byte(bench: Bench, keys: bytes) -> None:
    data = bytes(range(1, 256)) * 100_000
    client = bench.attach(keys=keys, preread=data[:1000])
    got: list[bytes] = []

    def work() -> None:
        while piece := os.read(bench.stdin, 1 << 16):
            got.append(piece)

    reader = threading.Thread(target=work)
    reader.start()

    def send() -> None:
        client.sendall(data[1000:])
        client.close()

    writer = threading.Thread(target=send)
    writer.start()
    bench.until(lambda: not reader.is_alive())
    writer.join()
    assert b"".join(got) == data


def test_unread_input_stops_the_client_not_the_memory(bench: Bench) -> None:
    client = bench.attach(keys=b"\x00never\x00")
    client.settimeout(0)
    sent = 0
    for _ in range(400):
        try:
            sent += client.send(b"y" * 65536)
        except BlockingIOError:
            bench.turn(0.002)
    assert 0 < sent < 3 << 20
    got = 0
    os.set_blocking(bench.stdin, False)
    while got < sent:
        bench.turn(0.002)
        try:
            got += len(os.read(bench.stdin, 1 << 20))
        except BlockingIOError:
            pass
    assert got == sent


def test_a_client_far_behind_loses_nothing_and_holds_nobody(bench: Bench) -> None:
    data = os.urandom(1 << 20) * 12
    slow, quick = bench.attach(), bench.attach()
    got: list[bytes] = []
    reader, writer = read_all(quick, got), write_all(bench.stdout, data)
    bench.until(lambda: not writer.is_alive())  # the container could write it all, though nobody reads `slow`
    bench.exit()
    bench.until(lambda: not reader.is_alive())
    assert b"".join(got) == data
    got.clear()
    reader = read_all(slow, got)
    bench.until(lambda: not reader.is_alive())
    assert b"".join(got) == data
    assert bench.streams.quiet


def test_a_stuck_client_is_cut_off_when_its_file_is_full(
        bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kist.launcher.spill.LIMIT", 1 << 20)
    monkeypatch.setattr(clients, "PATIENCE", 0.2)
    stuck = bench.attach()
    writer = write_all(bench.stdout, b"z" * (16 << 20))
    bench.until(lambda: not writer.is_alive())
    assert bench.streams.quiet
    stuck.close()


def test_a_slow_but_reading_client_is_not_cut_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kist.launcher.spill.LIMIT", 1 << 20)
    monkeypatch.setattr(clients, "PATIENCE", 0.5)
    monkeypatch.setattr(clients, "GRACE", 0.01)
    data = os.urandom(1 << 20) * 16
    got: list[bytes] = []
    reader, writer = read_all(bench.attach(), got, delay=0.002), write_all(bench.stdout, data)
    bench.until(lambda: not writer.is_alive())
    bench.exit()
    bench.until(lambda: not reader.is_alive())
    assert b"".join(got) == data


def test_a_vanished_client_is_forgotten(bench: Bench) -> None:
    bench.attach().close()
    os.write(bench.stdout, b"x")
    bench.turn()
    assert bench.streams.quiet
    assert os.read(bench.stdin, 1) == b""  # stdin_once: its input ended with it


def test_unread_input_does_not_make_the_end_a_reset(bench: Bench) -> None:
    client = bench.attach()
    os.close(bench.stdin)
    bench.stdin = -1
    for _ in range(3):
        client.sendall(b"nobody takes this")
        bench.turn()
    os.write(bench.stdout, b"bye")
    bench.exit()
    assert client.recv(100) == b"bye"
    assert client.recv(100) == b""


def test_tcp_clients_end_cleanly_too(bench: Bench) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    theirs, _ = server.accept()
    server.close()
    bench.streams.attach(Attach(0, stdin=False, stdout=True, stderr=True, framed=False), theirs.detach())
    client.sendall(b"not wanted")
    os.write(bench.stdout, b"bye")
    bench.exit()
    bench.turn()
    client.settimeout(5)
    assert client.recv(100) == b"bye"
    assert client.recv(100) == b""
    client.close()
    bench.until(lambda: bench.streams.quiet)


def test_spill_without_room_keeps_the_rest_in_memory() -> None:
    spill = Spill("/proc/no such directory")
    spill.write([b"one", b"two"])
    spill.write([b"three"])
    assert spill
    assert spill.full
    got = b""
    while spill:
        got += spill.read(100)
    assert got == b"onetwothree"


def test_spill_is_first_in_first_out_and_leaves_no_file(tmp_path: Path) -> None:
    spill = Spill(str(tmp_path))
    spill.write([b"abc", memoryview(b"def")])
    assert spill.read(4) == b"abcd"
    spill.write([b"ghi"])
    assert os.listdir(tmp_path) == []
    assert spill.read(100) == b"efghi"
    assert not spill
    assert not spill.full
