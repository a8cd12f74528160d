"""What the server answers is what the API's published description says."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from support.daemon import Daemon
from system import api_schema
from system.api_http import ask

pytestmark = pytest.mark.skipif(not api_schema.PATH.exists(),
                                reason="the API's description is not beside this checkout")


def check(operation: str, status: int, answer: tuple[int, Any]) -> Any:
    """The answer's body, when it has that status and that operation's shape."""
    got, body = answer
    assert got == status, body
    schema = api_schema.response_schema(operation, status)
    assert schema is not None
    assert list(api_schema.problems(body, schema)) == []
    return body


@pytest.fixture
def box(daemon: Daemon) -> str:
    """A running container with most of what an inspection can show."""
    _, made = ask(daemon, "POST", "/containers/create?name=conform", {
        "Image": "busybox", "Cmd": ["sh", "-c", "echo hi; sleep 1000"], "Labels": {"a": "b"}, "Env": ["A=b"],
        "ExposedPorts": {"80/tcp": {}}, "StopTimeout": 3, "Volumes": {"/vol": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
        "HostConfig": {"Memory": 64 << 20, "NanoCpus": 500_000_000, "PidsLimit": 50, "CapAdd": ["NET_ADMIN"],
                       "Tmpfs": {"/t": ""}, "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}]}})
    ask(daemon, "POST", f"/containers/{made['Id']}/start")
    id: str = made["Id"]
    return id


def test_version_and_info(daemon: Daemon) -> None:
    check("SystemVersion", 200, ask(daemon, "GET", "/version"))
    check("SystemInfo", 200, ask(daemon, "GET", "/info"))


def test_create(daemon: Daemon) -> None:
    check("ContainerCreate", 201, ask(daemon, "POST", "/containers/create", {"Image": "busybox"}))


def test_list_and_inspect(daemon: Daemon, box: str) -> None:
    rows = check("ContainerList", 200, ask(daemon, "GET", "/containers/json?size=1"))
    assert [row["Id"] for row in rows] == [box]
    found = check("ContainerInspect", 200, ask(daemon, "GET", f"/containers/{box}/json?size=1"))
    assert found["State"]["Running"] is True
    ask(daemon, "POST", f"/containers/{box}/kill")
    check("ContainerWait", 200, ask(daemon, "POST", f"/containers/{box}/wait"))
    check("ContainerInspect", 200, ask(daemon, "GET", f"/containers/{box}/json"))


def test_top(daemon: Daemon, box: str) -> None:
    check("ContainerTop", 200, ask(daemon, "GET", f"/containers/{box}/top"))


def test_exec(daemon: Daemon, box: str) -> None:
    made = check("ContainerExec", 201, ask(daemon, "POST", f"/containers/{box}/exec", {"Cmd": ["true"]}))
    assert ask(daemon, "POST", f"/exec/{made['Id']}/start", {"Detach": True})[0] == 200
    check("ExecInspect", 200, ask(daemon, "GET", f"/exec/{made['Id']}/json"))


def test_images(daemon: Daemon) -> None:
    check("ImageList", 200, ask(daemon, "GET", "/images/json"))
    check("ImageInspect", 200, ask(daemon, "GET", "/images/busybox/json"))
    check("ImageHistory", 200, ask(daemon, "GET", "/images/busybox/history"))
    assert ask(daemon, "POST", "/images/busybox/tag?repo=conform&tag=1")[0] == 201
    check("ImageDelete", 200, ask(daemon, "DELETE", "/images/conform:1"))


def test_networks(daemon: Daemon) -> None:
    rows = check("NetworkList", 200, ask(daemon, "GET", "/networks"))
    assert {row["Name"] for row in rows} >= {"bridge", "host", "none"}
    made = check("NetworkCreate", 201, ask(daemon, "POST", "/networks/create", {"Name": "conform"}))
    check("NetworkInspect", 200, ask(daemon, "GET", f"/networks/{made['Id']}"))
    assert ask(daemon, "DELETE", "/networks/conform")[0] == 204


def test_volumes(daemon: Daemon) -> None:
    check("VolumeCreate", 201, ask(daemon, "POST", "/volumes/create", {"Name": "conform", "Labels": {"a": "b"}}))
    check("VolumeList", 200, ask(daemon, "GET", "/volumes"))
    check("VolumeInspect", 200, ask(daemon, "GET", "/volumes/conform"))
    assert ask(daemon, "DELETE", "/volumes/conform")[0] == 204


def test_events(daemon: Daemon, box: str) -> None:
    ask(daemon, "POST", f"/containers/{box}/kill")
    ask(daemon, "POST", f"/containers/{box}/wait")
    wanted = quote(json.dumps({"container": [box], "event": ["start", "die"]}))
    status, events = ask(daemon, "GET", f"/events?since=1&until={time.time()}&filters={wanted}")
    assert (status, [event["Action"] for event in events]) == (200, ["start", "die"])
    schema = api_schema.response_schema("SystemEvents", 200)
    assert schema is not None
    for event in events:
        assert list(api_schema.problems(event, schema)) == []


@pytest.mark.parametrize("target", ["/containers/nosuch/json", "/images/nosuch/json", "/networks/nosuch",
                                    "/volumes/nosuch", "/exec/nosuch/json", "/nosuch"])
def test_errors(daemon: Daemon, target: str) -> None:
    check("ContainerInspect", 404, ask(daemon, "GET", target))
