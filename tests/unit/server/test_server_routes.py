"""Every route through the real HTTP: versions, statuses, headers, bodies, errors, progress."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from email.utils import parsedate_to_datetime

import pytest

from kist.api.routes import ROUTES
from unit.server.fake_engine import FakeEngine
from unit.server.wire import Wire

CREATE = {"Image": "busybox", "Cmd": ["sh", "-c", "echo out; echo err >&2; exit 3"]}


async def _create(wire: Wire, **body: object) -> str:
    answer = await wire.ask("POST", "/containers/create", {**CREATE, **body})
    assert answer.status == 201
    id: str = answer.json["Id"]
    return id


async def test_ping_tells_what_clients_negotiate_with(wire: Wire) -> None:
    for method in ("GET", "HEAD"):
        headers = (await wire.ask(method, "/_ping")).headers
        assert headers["api-version"] == "1.51"
        assert headers["ostype"] == "linux"
        assert headers["docker-experimental"] == "false"
        assert headers["builder-version"] == "1"
        assert headers["swarm"] == "inactive"
        assert headers["cache-control"] == "no-cache, no-store, must-revalidate"
        assert headers["server"].startswith("Kist/")


async def test_every_answer_has_its_date(wire: Wire) -> None:
    for target in ("/_ping", "/nosuch"):
        sent = parsedate_to_datetime((await wire.ask("GET", target)).headers["date"])
        assert abs(sent.timestamp() - time.time()) < 60


@pytest.mark.parametrize(("target", "words"), [
    ("/v1.23/version", "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your "
                       "client to a newer version"),
    ("/v1.52/version", "client version 1.52 is too new. Maximum supported API version is 1.51"),
])
async def test_a_version_out_of_range_is_refused(wire: Wire, target: str, words: str) -> None:
    answer = await wire.ask("GET", target)
    assert (answer.status, answer.message) == (400, words)


@pytest.mark.parametrize("target", ["/", "/nosuch", "/v1.51", "/containers", "/v1.51/containers/x/nosuch",
                                    "/containers/json/"])
async def test_an_unknown_path_is_not_found(wire: Wire, target: str) -> None:
    answer = await wire.ask("GET", target)
    assert (answer.status, answer.message) == (404, "page not found")


async def test_a_name_may_be_asked_for_with_its_slash(wire: Wire) -> None:
    await wire.ask("POST", "/containers/create?name=/one", CREATE)
    assert (await wire.ask("GET", "/v1.51/containers//one/json")).json["Name"] == "/one"
    assert (await wire.ask("DELETE", "/containers/%2Fone")).status == 204


async def test_a_method_that_a_path_does_not_have_is_not_found(wire: Wire) -> None:
    assert (await wire.ask("DELETE", "/version")).status == 404


@pytest.mark.parametrize("route", [r for r in ROUTES if r.refusal], ids=lambda r: f"{r.method} {r.pattern}")
async def test_what_is_not_supported_says_so(wire: Wire, route: object) -> None:
    assert isinstance(route, tuple)
    method, pattern, _, _, refusal = route
    target = pattern.replace("{id}", "x").replace("{name}", "x").replace("{name*}", "a/b")
    answer = await wire.ask(method, target)
    assert answer.status == 501
    if method != "HEAD":
        assert answer.message == refusal


async def test_errors_have_their_status_and_words(wire: Wire) -> None:
    answer = await wire.ask("GET", "/containers/nosuch/json")
    assert (answer.status, answer.message) == (404, "No such container: nosuch")
    assert answer.headers["content-type"] == "application/json"


async def test_a_wrong_type_names_its_field(wire: Wire) -> None:
    answer = await wire.ask("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Memory": "1g"}})
    assert answer.status == 400
    assert answer.message == "invalid value for HostConfig.Memory: expected int, got str"


@pytest.mark.parametrize("target", ["/containers/json?limit=x", "/containers/json?filters=%7B",
                                    "/containers/json?filters=%7B%22nosuch%22%3A%5B%22x%22%5D}",
                                    "/containers/json?limit=99999999999999999999"])
async def test_a_wrong_query_is_a_bad_request(wire: Wire, target: str) -> None:
    assert (await wire.ask("GET", target)).status == 400


async def test_a_containers_life(wire: Wire, second: Wire) -> None:
    id = await _create(wire)
    assert (await wire.ask("POST", f"/containers/{id}/rename?name=first")).status == 204
    assert [c["Names"] for c in (await wire.ask("GET", "/containers/json?all=1")).json] == [["/first"]]
    second.request("POST", f"/containers/{id}/wait?condition=next-exit")
    assert (await second.head()).status == 200  # at once: the wait is registered
    assert (await wire.ask("POST", "/containers/first/start")).status == 204
    assert json.loads(await second.chunk()) == {"StatusCode": 3}
    assert (await wire.ask("GET", "/containers/first/json")).json["State"]["ExitCode"] == 3
    assert (await wire.ask("POST", "/containers/first/stop")).status == 304
    assert (await wire.ask("DELETE", "/containers/first")).status == 204
    assert (await wire.ask("GET", "/containers/first/json")).status == 404


async def test_a_name_in_use_or_malformed_is_refused(wire: Wire) -> None:
    assert (await wire.ask("POST", "/containers/create?name=one", CREATE)).status == 201
    taken = await wire.ask("POST", "/containers/create?name=one", CREATE)
    assert taken.status == 409
    assert taken.message.startswith('Conflict. The container name "/one" is already in use')
    bad = await wire.ask("POST", "/containers/create?name=a%20b", CREATE)
    assert (bad.status, bad.message) == (
        400, "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


async def test_a_wait_for_an_unknown_condition_is_refused(wire: Wire) -> None:
    id = await _create(wire)
    answer = await wire.ask("POST", f"/containers/{id}/wait?condition=never")
    assert (answer.status, answer.message) == (400, 'invalid condition: "never"')


@pytest.mark.parametrize(("version", "tty", "kind"), [
    ("v1.51", False, "application/vnd.docker.multiplexed-stream"),
    ("v1.41", False, "application/vnd.docker.raw-stream"),
    ("v1.51", True, "application/vnd.docker.raw-stream"),
])
async def test_logs_name_their_format(wire: Wire, second: Wire, version: str, tty: object, kind: str) -> None:
    id = await _create(wire, Tty=tty)
    second.request("POST", f"/containers/{id}/wait?condition=next-exit")
    await second.head()
    await wire.ask("POST", f"/containers/{id}/start")
    await second.chunk()
    logs = await wire.ask("GET", f"/{version}/containers/{id}/logs?stdout=1&stderr=1")
    assert logs.headers["content-type"] == kind
    out, err = (b"out\n", b"err\n") if tty else (b"\1\0\0\0\0\0\0\4out\n", b"\2\0\0\0\0\0\0\4err\n")
    assert sorted([out + err, err + out]).count(logs.body) == 1
    only = await wire.ask("GET", f"/{version}/containers/{id}/logs?stderr=1")
    assert only.body == err


async def test_logs_of_no_stream_are_refused(wire: Wire) -> None:
    id = await _create(wire)
    answer = await wire.ask("GET", f"/containers/{id}/logs")
    assert (answer.status, answer.message) == (400, "Bad parameters: you must choose at least one stream")


async def test_a_pull_shows_its_progress(wire: Wire, engine: FakeEngine) -> None:
    auth = base64.urlsafe_b64encode(b'{"username":"u","password":"p?>"}').decode().rstrip("=")
    answer = await wire.ask("POST", "/images/create?fromImage=redis&tag=7", headers=f"X-Registry-Auth: {auth}\r\n")
    lines = [json.loads(line) for line in answer.body.split(b"\r\n") if line]
    assert lines[0] == {"status": "Pulling from library/redis:7", "id": "latest"}
    assert lines[2]["progressDetail"] == {"current": 1000, "total": 3000}
    assert lines[-1]["status"] == "Pull complete"
    assert engine.images.auth is not None
    assert (engine.images.auth.username, engine.images.auth.password) == ("u", "p?>")


async def test_a_pull_that_fails_at_once_has_a_status(wire: Wire) -> None:
    answer = await wire.ask("POST", "/images/create?fromImage=nosuch")
    assert answer.status == 404
    assert answer.message.startswith("pull access denied for nosuch, repository does not exist")


async def test_a_pull_that_fails_later_says_so_in_its_last_line(wire: Wire) -> None:
    answer = await wire.ask("POST", "/images/create?fromImage=broken")
    assert answer.status == 200
    assert json.loads(answer.body.split(b"\r\n")[-2]) == {
        "errorDetail": {"message": "manifest unknown"}, "error": "manifest unknown"}


@pytest.mark.parametrize(("query", "asked"), [
    ("fromImage=a/b&tag=c", "a/b:c"), ("fromImage=a&tag=sha256:0", "a@sha256:0"), ("fromImage=a", "a"),
])
async def test_a_pulls_tag_may_be_a_digest(wire: Wire, query: str, asked: str) -> None:
    answer = await wire.ask("POST", f"/images/create?{query}")
    assert json.loads(answer.body.split(b"\r\n")[0])["status"] == f"Pulling from library/{asked}"


async def test_an_image_name_may_hold_slashes(wire: Wire) -> None:
    assert (await wire.ask("POST", "/images/busybox/tag?repo=localhost:5000/a/b&tag=c")).status == 201
    found = await wire.ask("GET", "/images/localhost:5000/a/b:c/json")
    assert found.json["RepoTags"] == ["localhost:5000/a/b:c"]
    assert (await wire.ask("GET", "/images/localhost%3A5000%2Fa%2Fb:c/json")).status == 200
    assert (await wire.ask("DELETE", "/images/localhost:5000/a/b:c")).json == [{"Untagged": "localhost:5000/a/b:c"}]


async def test_events_come_as_they_happen(wire: Wire, engine: FakeEngine) -> None:
    engine.events.past = [{"n": 1}]
    wire.request("GET", "/events?since=1")
    assert (await wire.head()).headers["content-type"] == "application/json"
    assert await wire.chunk() == b'{"n":1}\n'
    engine.events.new.put_nowait({"n": 2})
    assert await asyncio.wait_for(wire.chunk(), 5) == b'{"n":2}\n'


async def test_past_events_end(wire: Wire, engine: FakeEngine) -> None:
    engine.events.past = [{"n": 1}, {"n": 2}]
    assert (await wire.ask("GET", "/events?since=1&until=2.5")).body == b'{"n":1}\n{"n":2}\n'


async def test_what_is_always_empty_is_empty(wire: Wire) -> None:
    assert (await wire.ask("GET", "/plugins")).json == []
    missing = await wire.ask("GET", "/plugins/a/b/json")
    assert (missing.status, missing.message) == (404, 'plugin "a/b" not found')
    assert (await wire.ask("POST", "/build/prune")).json == {"CachesDeleted": None, "SpaceReclaimed": 0}


async def test_networks_and_volumes(wire: Wire) -> None:
    assert (await wire.ask("GET", "/networks")).json[0]["Name"] == "bridge"
    assert (await wire.ask("POST", "/networks/create", {"Name": "n"})).status == 201
    assert (await wire.ask("GET", "/networks/nosuch")).message == "network nosuch not found"
    assert (await wire.ask("POST", "/volumes/create", {"Name": "v"})).status == 201
    assert (await wire.ask("DELETE", "/volumes/v")).status == 204
    assert (await wire.ask("GET", "/volumes/v")).status == 404
