"""Control messages: their bytes, their way over a socket, and the monitor's links."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.launcher import channel, protocol, state
from kist.launcher.control import Control, Refused
from kist.launcher.ends import listen
from kist.launcher.loop import Loop
from kist.launcher.protocol import Attach, ProtocolError

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8)


@given(st.dictionaries(st.text(), JSON))
def test_messages_survive(message: dict[str, Any]) -> None:
    assert protocol.decode(protocol.encode(message)) == message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff"])
def test_other_bytes_are_no_message(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode(body)


@given(st.binary(max_size=20), st.binary(max_size=20), st.lists(st.booleans(), min_size=4, max_size=4))
def test_an_attach_survives(keys: bytes, preread: bytes, flags: list[bool]) -> None:
    stdin, stdout, stderr, framed = flags
    attach = Attach(3, stdin=stdin, stdout=stdout, stderr=stderr, framed=framed, detach_keys=keys, preread=preread)
    back = Attach.from_json(protocol.decode(protocol.encode(attach.to_json())))
    assert {name: getattr(back, name) for name in Attach.__slots__} == {
        name: getattr(attach, name) for name in Attach.__slots__}


@pytest.mark.parametrize("words", [{}, {"fd": 0, "stdin": True, "stdout": True, "stderr": True, "framed": True,
                                        "keys": 5, "preread": ""}])
def test_a_bad_attach_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="bad attach"):
        Attach.from_json(words)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there:
        yield here, there


@pytest.mark.parametrize("size", [10, protocol.INLINE - 100, protocol.INLINE + 1, 3_000_000])
def test_a_message_of_any_size_brings_its_descriptors(
        ends: tuple[socket.socket, socket.socket], size: int) -> None:
    read, write = os.pipe()
    message = {"do": "exec", "environment": "x" * size}
    channel.send(ends[0], message, [write])
    os.close(write)
    received = channel.receive(ends[1])
    assert received
    assert received[0] == message
    (fd,) = received[1]
    assert not os.get_inheritable(fd)
    os.write(fd, b"the same pipe")
    os.close(fd)
    assert os.read(read, 100) == b"the same pipe"
    os.close(read)


def test_the_end_and_foreign_bytes(ends: tuple[socket.socket, socket.socket]) -> None:
    here, there = ends
    here.send(b"what?")
    with pytest.raises(ProtocolError):
        channel.receive(there)
    here.send(protocol.BY_MEMFD)
    with pytest.raises(ProtocolError, match="without its memory"):
        channel.receive(there)
    there.settimeout(0)
    with pytest.raises(BlockingIOError):
        channel.receive(there)
    here.close()
    assert channel.receive(there) is None


class Desk:
    """A Control whose verbs are the test's."""

    def __init__(self, directory: Path) -> None:
        self.loop = Loop()
        self.loop.open()
        self.control = Control(self.loop, {"echo": lambda message, fds: message["word"], "refuse": self._refuse,
                                           "fail": self._fail, "count": lambda message, fds: self._count(fds)},
                               lambda: protocol.event("hello", pid=7))
        self.directory = directory
        self.control.listen(listen(str(directory)), str(directory))

    @staticmethod
    def _refuse(message: dict[str, Any], fds: list[int]) -> None:
        raise Refused("no such program", protocol.NOT_FOUND)

    @staticmethod
    def _fail(message: dict[str, Any], fds: list[int]) -> None:
        raise OSError(5, "Input/output error")

    @staticmethod
    def _count(fds: list[int]) -> int:
        channel.close_all(fds)
        return len(fds)

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fd = os.open(self.directory, os.O_PATH)
        sock.connect(f"/proc/self/fd/{fd}/monitor.sock")
        os.close(fd)
        sock.settimeout(5)
        return sock

    def turn(self) -> None:
        self.loop.after("test", 0.02, self.loop.stop)
        self.loop.run()

    def ask(self, sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> dict[str, Any]:
        channel.send(sock, message, fds)
        self.turn()
        return self.hear(sock)

    @staticmethod
    def hear(sock: socket.socket) -> dict[str, Any]:
        received = channel.receive(sock)
        assert received
        return received[0]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    directory = tmp_path / ("a long name " * 10)  # a socket's path may have 107 bytes only
    directory.mkdir()
    made = Desk(directory)
    yield made
    made.control.close()
    made.loop.close()


def test_requests_are_answered(desk: Desk) -> None:
    desk.control.accept()
    with desk.connect() as sock:
        desk.turn()
        assert desk.hear(sock) == {"event": "hello", "pid": 7}
        assert desk.ask(sock, {"n": 3, "do": "echo", "word": "hi"}) == {"n": 3, "ok": "hi"}
        assert desk.ask(sock, {"n": 4, "do": "refuse"}) == {
            "n": 4, "error": {"message": "no such program", "kind": "not found"}}
        assert desk.ask(sock, {"n": 5, "do": "fail"})["error"]["kind"] == "other"
        assert "does not know 'dance'" in desk.ask(sock, {"n": 6, "do": "dance"}, (sock.fileno(),))["error"]["message"]
        assert "word" in desk.ask(sock, {"n": 7, "do": "echo"})["error"]["message"]
        assert desk.ask(sock, {"n": 8, "do": "count"}, (0, 1, 2)) == {"n": 8, "ok": 3}


def test_connections_wait_until_they_are_accepted(desk: Desk) -> None:
    with desk.connect() as early:
        desk.turn()
        early.settimeout(0)
        with pytest.raises(BlockingIOError):
            early.recv(100)
        desk.control.accept()
        desk.turn()
        early.settimeout(5)
        assert desk.hear(early)["event"] == "hello"


def test_every_server_hears_every_event_and_a_dead_one_is_dropped(desk: Desk) -> None:
    desk.control.accept()
    old, new = desk.connect(), desk.connect()
    desk.turn()
    assert len(desk.control.links) == 2
    old.close()
    desk.turn()
    assert len(desk.control.links) == 1
    desk.control.tell(protocol.event("exit", status=3))
    assert [desk.hear(new), desk.hear(new)][1] == {"event": "exit", "status": 3}
    new.close()


def test_what_a_server_does_not_read_waits(desk: Desk) -> None:
    desk.control.accept()
    with desk.connect() as sock:
        desk.turn()
        for number in range(40):
            desk.control.tell(protocol.event("e", number=number, ballast="x" * 50_000))
        seen = [desk.hear(sock)["event"]]
        while len(seen) < 41:
            seen.append(desk.hear(sock)["number"])
            desk.turn()
        assert seen == ["hello", *range(40)]


def test_the_socket_is_private_and_goes_away(desk: Desk) -> None:
    path = desk.directory / "monitor.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    desk.control.stop_listening()
    assert not path.exists()


def test_foreign_bytes_end_the_connection(desk: Desk) -> None:
    desk.control.accept()
    with desk.connect() as sock:
        desk.turn()
        desk.hear(sock)
        sock.send(b"GET / HTTP/1.1")
        desk.turn()
        assert channel.receive(sock) is None
        assert desk.control.links == []


def test_state_files(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")
    state.sync(state.publish(path, {"pid": 1}), str(tmp_path))
    assert state.read(path) == {"pid": 1}
    assert os.listdir(tmp_path) == ["state.json"]
    state.forget(path)
    state.forget(path)
    (tmp_path / "list").write_text("[]")
    with pytest.raises(ValueError, match="no JSON object"):
        state.read(str(tmp_path / "list"))
    assert state.start_time(os.getpid()) > 0
    with pytest.raises(OSError):
        state.start_time(2**22 + 1)


def test_last_words_are_heard_though_the_speaker_left_without_listening(
        ends: tuple[socket.socket, socket.socket]) -> None:
    here, there = ends
    channel.send(here, {"last": "words"})
    channel.send(there, {"not": "read"})
    here.close()
    assert channel.receive(there) == ({"last": "words"}, [])
    assert channel.receive(there) is None
