"""The page with the map of a local engine's networks: to whom it is shown, and what happens when there is no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kist.hub.web.networks import Way, ways_of
from support.gallery import Engine
from unit.hub.served import Client
from unit.hub.test_hub_accounts import PASSWORD, accounts, basic

FOUND = {"Host": {"Addresses": []}, "Networks": [], "Containers": [
    {"Id": "1" * 64, "Name": "web"}, {"Id": "2" * 64, "Name": "<b>db</b>"}], "Reach": [
    {"From": "1" * 64, "To": "2" * 64, "Network": "back"}, {"From": "host", "To": "1" * 64, "Network": ""},
    {"From": "outside", "To": "1" * 64, "Ports": ["8080", "8443"]},
    {"From": "2" * 64, "To": "1" * 64, "Network": "back", "Ports": ["80/tcp"]}]}
PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    """The socket of something that answers as an engine does."""
    path = tmp_path / "engine.sock"
    with Engine(path, FOUND, PICTURE):
        yield str(path)


def test_the_map_in_words() -> None:
    assert ways_of(FOUND) == [
        Way("web", "<b>db</b>", "back", by_port=False), Way("host", "web", "", by_port=False),
        Way("outside", "web", "8080, 8443", by_port=True),
        Way("<b>db</b>", "web", "back, port 80/tcp only (a link)", by_port=False)]


def test_at_the_machine_the_map_is_shown(start: Callable[..., Client], engine: str) -> None:
    client = start(engine=engine)
    answer = client.get("/networks")
    html = answer.body.decode()
    assert answer.status == 200 and "published port 8080, 8443" in html and "network back" in html
    assert "directly" in html and "&lt;b&gt;db" in html and "<b>db" not in html
    assert 'href="/networks"' in client.get("/").body.decode()
    picture = client.get("/networks/map.svg")
    assert (picture.status, picture.body, picture.headers["Content-Type"]) == (200, PICTURE, "image/svg+xml")
    assert picture.headers["Content-Security-Policy"].endswith("sandbox")
    assert client.get("/networks", Host="localhost:5555").status == 200


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example:5555"}, {"Host": "10.0.0.1"},
    {"X_Forwarded_For": "192.0.2.7"}], ids=str)
def test_nobody_elsewhere_sees_it(start: Callable[..., Client], engine: str, headers: dict[str, str]) -> None:
    client = start(engine=engine)
    for path in ("/networks", "/networks/map.svg"):
        assert client.get(path, **headers).status == 404


def test_with_accounts_only_admins_who_have_signed_in_see_it(start: Callable[..., Client], engine: str) -> None:
    client = start(engine=engine, accounts=True)
    people = accounts(client)
    people.add_user("alice", PASSWORD)
    people.add_user("root", PASSWORD, admin=True)
    cookies = {name: {"Cookie": f"kist_session={people.open_session(people.user(name))}"} for name in ("alice", "root")}
    for who, wanted in (({}, 404), (cookies["alice"], 404), (basic("root"), 404), (cookies["root"], 200)):
        for path in ("/networks", "/networks/map.svg"):
            assert client.get(path, **who).status == wanted
        if "Authorization" not in who:  # which opens no pages, and is sent by no browser
            assert ('href="/networks"' in client.get("/search", **who).body.decode()) is (wanted == 200)


def test_without_an_engine_there_is_no_such_page(client: Client) -> None:
    assert client.get("/networks").status == 404
    assert 'href="/networks"' not in client.get("/").body.decode()


def test_an_engine_that_is_gone_is_said_to_be(start: Callable[..., Client], tmp_path: Path) -> None:
    client = start(engine=str(tmp_path / "nothing.sock"))
    answer = client.get("/networks")
    assert answer.status == 503 and b"does not answer" in answer.body
    assert client.get("/networks/map.svg").status == 503
