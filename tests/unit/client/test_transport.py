"""HTTP as the transport reads it, byte by byte, over a socket pair."""

from __future__ import annotations

import _socket
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.client.transport import Connection, ProtocolError, Response, connect_unix

Pair = tuple[Connection, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = socket.socketpair()
    link = Connection(_socket.socket(fileno=here.detach()), "localhost")
    yield link, there
    link.close()
    there.close()


def answer(pair: Pair, data: bytes, method: str = "GET", *, close: bool = False) -> Response:
    link, there = pair
    there.sendall(data)
    if close:
        there.shutdown(socket.SHUT_WR)
    return link.response(method)


def test_a_body_with_a_length(pair: Pair) -> None:
    response = answer(pair, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\n\r\nhello")
    assert (response.status, response.headers["x-a"], response.read()) == (200, "b", b"hello")


def test_a_chunked_body_with_extensions_and_trailers(pair: Pair) -> None:
    response = answer(pair, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                            b"5;x=y\r\nhello\r\nA\r\n 0123456789"[:-10] + b"123456789\r\n0\r\nX: y\r\n\r\n")
    assert response.read() == b"hello 123456789"


def test_every_cut_of_an_answer_reads_the_same(pair: Pair) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    for cut in range(1, len(data)):
        link, there = pair
        there.sendall(data[:cut])
        sender = threading.Timer(0.001, there.sendall, (data[cut:],))
        sender.start()
        assert link.response("GET").read() == b"abcde"
        sender.join()


def test_a_body_up_to_the_end_of_the_connection(pair: Pair) -> None:
    assert answer(pair, b"HTTP/1.1 200 OK\r\n\r\nall of it", close=True).read() == b"all of it"


def test_two_answers_behind_each_other(pair: Pair) -> None:
    link, there = pair
    there.sendall(b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
    assert link.response("POST").status == 204
    assert link.response("GET").read() == b"x"


def test_hundreds_before_the_answer_are_skipped(pair: Pair) -> None:
    assert answer(pair, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").status == 200


def test_a_head_has_no_body(pair: Pair) -> None:
    assert answer(pair, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", "HEAD").read() == b""


@pytest.mark.parametrize("status", [b"101 UPGRADED", b"200 OK"])
def test_an_upgrade_hands_over_the_socket_and_what_came_early(pair: Pair, status: bytes) -> None:
    response = answer(pair, b"HTTP/1.1 " + status + b"\r\nUpgrade: tcp\r\n\r\nearly")
    raw, early = response.hijack()
    assert early == b"early"
    pair[1].sendall(b"more")
    assert raw.recv(10) == b"more"


def test_an_answer_with_a_length_is_no_upgrade(pair: Pair) -> None:
    with pytest.raises(ProtocolError):
        answer(pair, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").hijack()


@pytest.mark.parametrize("data", [
    b"", b"HTTP/1.1 20", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nab\r\n",
])
def test_a_broken_answer_is_a_protocol_error(pair: Pair, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        answer(pair, data, close=True).read()


def test_an_endless_head_is_given_up(pair: Pair) -> None:
    link, there = pair
    sender = threading.Thread(target=lambda: there.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 66_000))
    sender.start()
    with pytest.raises(ProtocolError, match="longer than"):
        link.response("GET")
    sender.join()


def test_an_endless_body_is_given_up(pair: Pair) -> None:
    with pytest.raises(ProtocolError, match="longer than"):
        answer(pair, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"a" * 50).read(10)


def test_what_is_sent(pair: Pair) -> None:
    link, there = pair
    link.send("POST", "/a?b=c", {"X": "y"}, b"body")
    assert there.recv(500) == (b"POST /a?b=c HTTP/1.1\r\nHost: localhost\r\nX: y\r\nContent-Length: 4\r\n\r\nbody")
    link.send("POST", "/a", {})
    assert b"Content-Length: 0\r\n" in there.recv(500)
    link.send("PUT", "/a", {}, [b"ab", b"", b"c"])
    assert there.recv(500).endswith(b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


def test_a_connection_that_the_server_closed_is_not_idle(pair: Pair) -> None:
    link, there = pair
    assert link.is_idle()
    there.sendall(b"HTTP/1.1 408 Too late\r\n\r\n")
    assert not link.is_idle()


def test_a_path_longer_than_the_kernel_allows(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    path = str(folder / "engine.sock")
    listener = socket.socket(socket.AF_UNIX)
    here = os.open(folder, os.O_RDONLY)
    listener.bind(f"/proc/self/fd/{here}/engine.sock")
    os.close(here)
    listener.listen(1)
    connect_unix(path).close()
    listener.close()
