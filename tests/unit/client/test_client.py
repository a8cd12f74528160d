"""The client against an engine on a real socket."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from kist.client.address import Address
from kist.client.client import Client, NoServer, StreamError, query_string, quote
from kist.client.images import auth_header
from kist.errors import Conflict, InvalidParameter, NotFound
from support.fake_engine import FakeEngine


def test_a_container_s_life_on_two_connections(engine: FakeEngine) -> None:
    with Client(engine.host) as k:
        made = k.containers.create({"Image": "busybox", "Cmd": ["exit", "3"]}, name="x")
        waiting = k.containers.send_wait(made["Id"]).answer()
        k.containers.start("x")
        assert json.loads(waiting.read()) == {"StatusCode": 3}
        k.containers.remove("x")
    assert engine.lines() == ["POST /containers/create?name=x", f"POST /containers/{made['Id']}/wait",
                              "POST /containers/x/start", "DELETE /containers/x"]
    assert engine.connections == 2


def test_errors_are_those_of_the_server(engine: FakeEngine) -> None:
    k = Client(engine.host)
    with pytest.raises(NotFound, match="No such container: nope"):
        k.containers.inspect("nope")
    with pytest.raises(NotFound, match="No such image: x:latest"):
        k.containers.create({"Image": "x"})
    k.containers.create({"Image": "busybox"}, name="taken")
    with pytest.raises(Conflict, match="already in use"):
        k.containers.create({"Image": "busybox"}, name="taken")


def test_an_older_server_is_asked_again_in_its_version(engine: FakeEngine) -> None:
    engine.newest = "1.45"
    k = Client(engine.host)
    assert k.containers.list() == []
    assert k.version == "1.45"
    assert engine.lines() == ["GET /containers/json", "GET /containers/json"]


def test_an_older_server_is_asked_in_its_version_whatever_is_sent(engine: FakeEngine) -> None:
    """Also when several requests are under way at once, and when a body is a stream that can be sent only once."""
    engine.newest = "1.45"
    with Client(engine.host) as client:
        under_way = [client.containers.send_post(name, "start") for name in ("a", "b", "c")]
        for sent in under_way:
            with pytest.raises(NotFound, match="No such container"):
                sent.answer()
        assert client.version == "1.45"
    with Client(engine.host) as client, pytest.raises(NotFound):
        client.containers.stat("nope", "/")  # a HEAD, whose refusal has no words
    with Client(engine.host) as client:
        engine.answers[("POST", "/images/load")] = (200, {"stream": "Loaded"})
        assert list(client.images.load(iter([b"abc", b"def"]))) == [{"stream": "Loaded"}]
        assert [body for _, path, _, body in engine.requests if path.startswith("/images/load")] == [b"abcdef"]



def test_a_connection_that_was_closed_meanwhile_is_not_used_again(engine: FakeEngine) -> None:
    k = Client(engine.host)
    k.system.ping()
    engine._links[0].shutdown(2)
    k.system.ping()
    assert engine.connections == 2


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(NoServer) as caught:
        Client(f"unix://{tmp_path}/none.sock").system.ping()
    assert caught.value.errno == 2


def test_progress_and_an_error_in_its_middle(engine: FakeEngine) -> None:
    k = Client(engine.host)
    assert [step["status"] for step in k.images.pull("foo", tag="1")][-1].startswith("Status: Downloaded")
    engine.answers["POST", "/images/load"] = (
        200, b'{"stream":"a"}\n{"errorDetail":{"message":"it broke"},"error":"x"}\n')
    with pytest.raises(StreamError, match="it broke"):
        list(k.images.load([b"tar"]))


def test_an_archive_goes_out_in_chunks(engine: FakeEngine) -> None:
    engine.answers["PUT", "/containers/x/archive"] = (200, b"")
    Client(engine.host).containers.put_archive("x", "/tmp", [b"abc", b"def"])
    assert engine.requests[-1][3] == b"abcdef"


def test_queries() -> None:
    assert query_string({"a": True, "b": None, "c": "", "d": "x y&z", "e": ["1", "2"], "f": {"k": ["v"]}, "g": 0}) == (
        "?a=1&d=x%20y%26z&e=1&e=2&f=%7B%22k%22:%5B%22v%22%5D%7D&g=0")
    assert query_string({"a": None}) == ""
    assert quote("a/b:1@sha256:é?#") == "a/b:1@sha256:%C3%A9%3F%23"


def test_credentials_travel_in_url_safe_base64() -> None:
    header = auth_header({"username": "u", "password": "ÿ?>~"})["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header)) == {"username": "u", "password": "ÿ?>~"}


@pytest.mark.parametrize(("text", "scheme", "host", "port", "path"), [
    ("unix:///run/x.sock", "unix", "", 0, "/run/x.sock"),
    ("tcp://1.2.3.4:5", "tcp", "1.2.3.4", 5, ""),
    ("tcp://[::1]:5", "tcp", "::1", 5, ""),
    ("tcp://h", "tcp", "h", 0, ""),
    ("ssh://me@h:22/x", "ssh", "h", 22, ""),
])
def test_addresses(text: str, scheme: str, host: str, port: int, path: str) -> None:
    address = Address(text)
    assert (address.scheme, address.host, address.port, address.path) == (scheme, host, port, path)


@pytest.mark.parametrize("text", ["", "/run/x", "unix://", "foo://x", "tcp://", "tcp://h:x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidParameter, match="unable to parse server host"):
        Address(text)
