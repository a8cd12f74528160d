"""Every route and every status that its description names, each answer held against it (api_schema.py)."""

from __future__ import annotations

import io
import json
import tarfile
import time
from typing import Any
from urllib.parse import quote

import pytest

from kist.api.routes import ROUTES
from kist.server.app import Router
from support.daemon import Daemon
from support.hub import Hub
from system import api_schema
from system.api_http import ask, fetch

pytestmark = pytest.mark.skipif(not api_schema.PATH.exists(),
                                reason="the API's description is not beside this checkout")

# "METHOD target", the status, and the body if there is one. {words} are filled in by `world`. In order: what a case
# changes the next ones see. Before their time: a status's first appearance is enough.
Case = tuple[str, int] | tuple[str, int, Any]
UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}
WEBSOCKET = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
SLEEP = {"Image": "busybox", "Cmd": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done"]}

SYSTEM: list[Case] = [
    ("GET /_ping", 200), ("HEAD /_ping", 200), ("GET /version", 200), ("GET /info", 200), ("GET /system/df", 200),
    ("GET /system/df?type=volume", 200), ("GET /system/df?type=x", 400),
    ("GET /events?since=1&until={now}", 200), ("GET /events?since=x", 400), ("GET /events?filters=x", 400),
    ("POST /auth", 400, b"{"), ("POST /auth", 503, {"serveraddress": "127.0.0.1:1", "username": "a", "password": "b"}),
    ("POST /build/prune", 200), ("GET /plugins", 200), ("GET /plugins/x/json", 404), ("DELETE /plugins/x", 404),
    ("POST /plugins/x/enable", 404), ("POST /plugins/x/disable", 404), ("POST /plugins/x/push", 404),
    ("POST /plugins/x/set", 404), ("GET /nosuch", 404), ("POST /version", 404),
]
CONTAINERS: list[Case] = [
    ("POST /containers/create?name=made", 201, SLEEP), ("POST /containers/create?name=made", 409, SLEEP),
    ("POST /containers/create", 404, {"Image": "nosuch"}), ("POST /containers/create", 400, {"Image": 1}),
    ("POST /containers/create", 400, {"Image": "busybox", "HostConfig": {"Memory": -1}}),
    ("POST /containers/create?name=-", 400, SLEEP),
    ("GET /containers/json?all=1&size=1", 200), ("GET /containers/json?filters=x", 400),
    ("GET /containers/{up}/json", 200), ("GET /containers/down/json?size=1", 200), ("GET /containers/nosuch/json", 404),
    ("GET /containers/{up}/top", 200), ("GET /containers/nosuch/top", 404), ("GET /containers/down/top", 409),
    ("GET /containers/{up}/logs?stdout=1", 200), ("GET /containers/{up}/logs", 400),
    ("GET /containers/nosuch/logs?stdout=1", 404),
    ("GET /containers/{up}/changes", 200), ("GET /containers/nosuch/changes", 404),
    ("GET /containers/down/export", 200), ("GET /containers/nosuch/export", 404),
    ("GET /containers/{up}/stats?stream=0&one-shot=1", 200), ("GET /containers/{up}/stats?stream=0", 200),
    ("GET /containers/down/stats?stream=0", 200), ("GET /containers/nosuch/stats?stream=0", 404),
    ("POST /containers/tty/resize?h=20&w=40", 200), ("POST /containers/nosuch/resize?h=1&w=1", 404),
    ("POST /containers/down/resize?h=1&w=1", 409), ("POST /containers/tty/resize?h=x", 400),
    ("POST /containers/made/start", 204), ("POST /containers/made/start", 304), ("POST /containers/nosuch/start", 404),
    ("POST /containers/bad/start", 400),
    ("POST /containers/made/pause", 204), ("POST /containers/made/pause", 409), ("POST /containers/nosuch/pause", 404),
    ("POST /containers/made/unpause", 204), ("POST /containers/made/unpause", 409),
    ("POST /containers/nosuch/unpause", 404),
    ("POST /containers/made/restart?t=5", 204), ("POST /containers/nosuch/restart", 404),
    ("POST /containers/made/kill?signal=USR1", 204), ("POST /containers/made/kill?signal=x", 400),
    ("POST /containers/down/kill", 409), ("POST /containers/nosuch/kill", 404),
    ("POST /containers/made/update", 200, {"Memory": 64 << 20, "MemorySwap": 64 << 20}),
    ("POST /containers/made/update", 400, {"Memory": "x"}), ("POST /containers/nosuch/update", 404, {}),
    ("POST /containers/made/rename?name=other", 204), ("POST /containers/other/rename?name=down", 409),
    ("POST /containers/other/rename", 400), ("POST /containers/nosuch/rename?name=new", 404),
    ("POST /containers/{up}/exec", 201, {"Cmd": ["true"]}), ("POST /containers/down/exec", 409, {"Cmd": ["true"]}),
    ("POST /containers/nosuch/exec", 404, {"Cmd": ["true"]}), ("POST /containers/{up}/exec", 400, {"Cmd": []}),
    ("GET /exec/{exec}/json", 200), ("GET /exec/nosuch/json", 404), ("POST /exec/{exec}/resize?h=x&w=1", 400),
    ("POST /exec/nosuch/resize?h=1&w=1", 404),
    ("POST /exec/{exec}/start", 200, {"Detach": True}), ("POST /exec/{exec}/start", 409, {"Detach": True}),
    ("POST /exec/{long}/start", 200, {"Detach": True}), ("POST /exec/{long}/resize?h=3&w=3", 200),
    ("POST /exec/nosuch/start", 404, {"Detach": True}), ("POST /exec/{other_exec}/start", 101, ({}, UPGRADE)),
    ("POST /containers/{up}/attach?stdout=1", 200), ("POST /containers/{up}/attach?stdout=1", 101, (None, UPGRADE)),
    ("POST /containers/nosuch/attach", 404), ("POST /containers/{up}/attach?detachKeys=x,y,zzz", 400),
    ("GET /containers/{up}/attach/ws?stdout=1", 101, (None, WEBSOCKET)), ("GET /containers/{up}/attach/ws", 400),
    ("GET /containers/nosuch/attach/ws", 404, (None, WEBSOCKET)),
    ("POST /containers/down/wait", 200), ("POST /containers/down/wait?condition=x", 400),
    ("POST /containers/nosuch/wait", 404),
    ("HEAD /containers/{up}/archive?path=/etc", 200), ("HEAD /containers/{up}/archive", 400),
    ("HEAD /containers/{up}/archive?path=/nosuch", 404),
    ("GET /containers/{up}/archive?path=/etc", 200), ("GET /containers/{up}/archive", 400),
    ("GET /containers/{up}/archive?path=/nosuch", 404),
    ("PUT /containers/{up}/archive?path=/tmp", 200, "tar"), ("PUT /containers/{up}/archive?path=/tmp", 400, b"no tar"),
    ("PUT /containers/{up}/archive?path=/nosuch", 404, "tar"),
    ("PUT /containers/frozen/archive?path=/tmp", 403, "tar"),
    ("POST /containers/other/stop?t=5", 204), ("POST /containers/other/stop", 304),
    ("POST /containers/nosuch/stop", 404),
    ("DELETE /containers/{up}", 409), ("DELETE /containers/nosuch", 404), ("DELETE /containers/other", 204),
    ("DELETE /containers/down?v=1&link=1", 409),
    ("POST /containers/prune", 200), ("POST /containers/prune?filters=x", 400),
]
IMAGES: list[Case] = [
    ("GET /images/json?all=1&digests=1", 200), ("GET /images/json?filters=x", 400),
    ("GET /images/busybox/json", 200), ("GET /images/nosuch/json", 404),
    ("GET /images/busybox/history", 200), ("GET /images/nosuch/history", 404),
    ("POST /images/busybox/tag?repo=conform&tag=1", 201), ("POST /images/nosuch/tag?repo=conform&tag=1", 404),
    ("POST /images/busybox/tag?repo=UPPER", 400),
    ("POST /images/create?fromImage=busybox&tag=latest", 200),
    ("POST /images/create?fromImage={hub}/nosuch&tag=x", 404),
    ("POST /images/create?fromImage=UPPER", 400), ("POST /images/create?fromSrc=-&repo=imported", 200, "tar"),
    ("GET /images/search?term=busy", 200), ("GET /images/search", 400),
    ("GET /images/get?names=busybox", 200), ("GET /images/get?names=nosuch", 404),
    ("GET /images/busybox/get", 200), ("GET /images/nosuch/get", 404),
    ("POST /images/load", 200, "saved"), ("POST /images/load", 400, b"no archive"),
    ("POST /images/conform:1/push", 200), ("POST /images/nosuch/push", 200), ("POST /images/UPPER/push", 400),
    ("POST /commit?container=down&repo=committed", 201, {}), ("POST /commit?container=nosuch", 404, {}),
    ("POST /commit?container=down&repo=UPPER", 400, {}),
    ("GET /distribution/busybox/json", 200), ("GET /distribution/{hub}/nosuch/json", 404),
    ("GET /distribution/127.0.0.1:1/nosuch/json", 503),
    ("GET /distribution/UPPER/json", 400),
    ("DELETE /images/conform:1", 200), ("DELETE /images/nosuch", 404), ("DELETE /images/busybox", 409),
    ("DELETE /images/committed", 200), ("DELETE /images/imported", 200),
    ("POST /images/prune", 200), ("POST /images/prune?filters=x", 400),
]
NETWORKS: list[Case] = [
    ("POST /networks/create", 201, {"Name": "made"}), ("POST /networks/create", 409, {"Name": "made"}),
    ("POST /networks/create", 400, {"Name": 1}), ("POST /networks/create", 403, {"Name": "bridge"}),
    ("POST /networks/create", 404, {"Name": "x", "Driver": "nosuch"}),
    ("GET /networks", 200), ("GET /networks?filters=x", 400), ("GET /networks/made?verbose=1", 200),
    ("GET /networks/nosuch", 404),
    ("POST /networks/made/connect", 200, {"Container": "{up}"}),
    ("POST /networks/made/connect", 403, {"Container": "{up}"}),
    ("POST /networks/nosuch/connect", 404, {"Container": "{up}"}), ("POST /networks/made/connect", 400, b"{"),
    ("DELETE /networks/made", 403),
    ("POST /networks/made/disconnect", 200, {"Container": "{up}"}),
    ("POST /networks/nosuch/disconnect", 404, {"Container": "{up}"}),
    ("POST /networks/made/disconnect", 400, {"Container": 1}),
    ("DELETE /networks/made", 204), ("DELETE /networks/nosuch", 404), ("DELETE /networks/bridge", 403),
    ("POST /networks/prune", 200), ("POST /networks/prune?filters=x", 400),
    ("POST /volumes/create", 201, {"Name": "made"}), ("POST /volumes/create", 400, {"Name": "a/b"}),
    ("GET /volumes", 200), ("GET /volumes?filters=x", 400), ("GET /volumes/made", 200), ("GET /volumes/nosuch", 404),
    ("DELETE /volumes/made", 204), ("DELETE /volumes/nosuch", 404), ("DELETE /volumes/used", 409),
    ("POST /volumes/prune", 200), ("POST /volumes/prune?filters=x", 400),
]
NO_ROUTE = {("GET", "/nosuch"), ("POST", "/version")}
# What is described and not answered, and why.
NEVER = {
    ("SystemAuth", 200): "no registry to log in to here: tests/system/test_images_accounts.py does",
    ("SystemAuth", 204): "moby answers 200 only",
    ("SystemAuth", 401): "the same",
    ("ContainerAttachWebsocket", 200): "a websocket is a 101 (RFC 6455, section 4.2.2)",
    ("ContainerDelete", 400): "its flags take any text, as moby's do",
    ("ImagePush", 404): "told in the stream, as moby does",
    ("ImageTag", 409): "a name moves on without asking, as in moby",
    ("DistributionInspect", 401): "no registry that wants to know who asks: tests/system/test_images_accounts.py",
    ("NetworkDisconnect", 403): "no swarm", ("PluginInspect", 200): "no plugins", ("PluginDelete", 200): "no plugins",
    ("PluginEnable", 200): "no plugins", ("PluginDisable", 200): "no plugins", ("PluginPush", 200): "no plugins",
    ("PluginSet", 204): "no plugins",
}


@pytest.fixture
def world(daemon: Daemon, hub: Hub) -> dict[str, str]:
    """Containers in each state, and what the cases name."""

    def create(name: str, **more: Any) -> str:
        status, made = ask(daemon, "POST", f"/containers/create?name={name}", {**SLEEP, **more})
        assert status == 201, made
        return str(made["Id"])

    up = create("up", HostConfig={"Binds": ["used:/used"]}, Labels={"a": "b"},
                Healthcheck={"Test": ["CMD", "true"], "Interval": 1_000_000_000})
    create("tty", Tty=True)
    create("frozen", HostConfig={"ReadonlyRootfs": True})
    create("down", Cmd=["true"])
    create("bad", Cmd=["nosuchprogram"])
    for name in ("up", "tty", "frozen", "down"):
        assert ask(daemon, "POST", f"/containers/{name}/start")[0] == 204
    ask(daemon, "POST", "/containers/down/wait")

    def execute(*words: str, **more: Any) -> str:
        return str(ask(daemon, "POST", f"/containers/{up}/exec", {"Cmd": words, **more})[1]["Id"])

    return {"hub": hub.url.partition("://")[2],
            "up": up, "now": str(time.time()), "exec": execute("true"), "other_exec": execute("true"),
            "long": execute("sleep", "100", Tty=True)}


def bodies(daemon: Daemon) -> dict[str, bytes]:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    return {"tar": content.getvalue(), "saved": fetch(daemon, "GET", "/images/get?names=busybox").content}


def filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: filled(one, words) for key, one in value.items()}
    return words.get(value[1:-1], value) if isinstance(value, str) and value.startswith("{") else value


def parts(case: Case) -> tuple[str, str, int, Any, dict[str, str]]:
    """Method, target, status, body, headers."""
    method, _, target = case[0].partition(" ")
    body, headers = (case[2] if len(case) == 3 else None), {}
    if isinstance(body, tuple):
        body, headers = body
    return method, target, case[1], body, headers


def operation(method: str, target: str) -> str:
    route, _ = Router().find(method, target.partition("?")[0])
    return route.operation


@pytest.mark.parametrize("cases", [SYSTEM, CONTAINERS, IMAGES, NETWORKS], ids=["system", "containers", "images",
                                                                                "networks"])
def test_each_answer_is_as_described(daemon: Daemon, world: dict[str, str], cases: list[Case]) -> None:
    files, found = bodies(daemon), []
    for case in cases:
        method, target, status, body, headers = parts(case)
        target = target.format(**{name: quote(value, safe=":/") for name, value in world.items()})
        if isinstance(body, str):
            body = files[body]
        answer = fetch(daemon, method, "/v1.51" + target, filled(body, world), headers)
        if answer.status != status:
            found.append(f"{case[0]}: {answer.status}, expected {status}: {answer.content[:300]!r}")
        name = "none" if (method, target) in NO_ROUTE else operation(method, target)
        found += [f"{case[0]}: {one}" for one in api_schema.answer_problems(
            name, answer.status, answer.type, answer.content, head=method == "HEAD")]
    assert not found, "\n".join(found)
    assert "Traceback" not in daemon.log.read_text()


def test_what_is_refused_says_so(daemon: Daemon) -> None:
    for route in ROUTES:
        if route.refusal:
            target = route.pattern.replace("{id}", "x").replace("{name}", "x").replace("{name*}", "x")
            answer = fetch(daemon, route.method, target, {})
            assert (answer.status, json.loads(answer.content)) == (501, {"message": route.refusal})


def test_no_status_is_left_out() -> None:
    """The tables above against the description: what it names is asked for, or can't come."""
    asked = {(operation(method, target), status) for method, target, status, *_ in map(
        parts, [*SYSTEM, *CONTAINERS, *IMAGES, *NETWORKS]) if (method, target) not in NO_ROUTE}
    served = {route.operation for route in ROUTES if not route.refusal}
    described = {(name, status) for name in served for status in api_schema.responses(name) if status != 500}
    assert described - asked - NEVER.keys() == set()
    assert NEVER.keys() - described == set()
    assert NEVER.keys() & asked == set()
