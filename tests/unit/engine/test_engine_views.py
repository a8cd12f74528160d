"""Records as clients see them: inspect, ps, the words of a state, filters; checked against each other."""

from __future__ import annotations

from typing import Any

import pytest

from kist.engine import selection, states
from kist.engine.records import ContainerRecord, Health, Mount
from kist.engine.views import containers as views
from kist.engine.views.status import status
from kist.errors import InvalidParameter

S = 1_000_000_000
NOW = 1_700_000_000 * S


def record(name: str = "web", **more: Any) -> ContainerRecord:
    fields: dict[str, Any] = {
        "id": f"{name:0<64}".encode().hex()[:64], "name": name, "created": NOW - 100 * S, "image": "busybox",
        "image_id": "sha256:1", "path": "sh", "args": ["-c", "echo hi"],
        "config": {"Labels": {"a": "1"}, "Hostname": "h", "ExposedPorts": {"80/tcp": {}}},
        "host": {"NetworkMode": "bridge", "LogConfig": {"Type": "json-file"}},
        "mounts": [Mount(type="volume", target="/v", name="vol", source="/d/vol/_data", driver="local")]}
    return ContainerRecord(**{**fields, **more})


@pytest.mark.parametrize(("fields", "words"), [
    ({"state": states.CREATED}, "Created"),
    ({"state": states.RUNNING, "started_at": NOW - 5 * S}, "Up 5 seconds"),
    ({"state": states.PAUSED, "started_at": NOW - 5 * S}, "Up 5 seconds (Paused)"),
    ({"state": states.RUNNING, "started_at": NOW - 5 * S, "health": Health()}, "Up 5 seconds (health: starting)"),
    ({"state": states.RUNNING, "started_at": NOW, "health": Health(status="healthy")},
     "Up Less than a second (healthy)"),
    ({"state": states.EXITED, "exit_code": 3, "finished_at": NOW - 60 * S}, "Exited (3) About a minute ago"),
    ({"state": states.RESTARTING, "exit_code": 1, "finished_at": NOW - 2 * S}, "Restarting (1) 2 seconds ago"),
    ({"state": states.DEAD}, "Dead"),
])
def test_the_words_of_a_state(fields: dict[str, Any], words: str) -> None:
    assert status(record(**fields), NOW) == words


def test_inspect_and_ps_agree() -> None:
    one = record(state=states.RUNNING, started_at=NOW, pid=5)
    whole = views.inspect(one, data_dir="/d", exec_ids=["e"], graph={}, sizes=(1, 2))
    row = views.summary(one, NOW)
    assert whole["Id"] == row["Id"]
    assert [whole["Name"]] == row["Names"]
    assert whole["State"]["Status"] == row["State"]
    assert whole["Mounts"] == row["Mounts"]
    assert row["Command"] == "sh -c 'echo hi'"
    assert whole["State"]["Running"] is True
    assert whole["LogPath"].endswith("-json.log")
    assert (whole["SizeRw"], whole["SizeRootFs"]) == (1, 2)


def test_inspect_leaves_out_of_hostconfig_what_dockers_leaves_out() -> None:
    host = {"Memory": 0, "Init": None, "Mounts": None, "Tmpfs": {}, "Sysctls": {"net.x": "1"}, "KernelMemory": 0}
    shown = views.inspect(record(host={**record().host, **host}), data_dir="/d", exec_ids=[], graph={},
                          sizes=None)["HostConfig"]
    assert {name: shown[name] for name in host if name in shown} == {"Memory": 0, "Sysctls": {"net.x": "1"}}
    shown = views.inspect(record(host={**record().host, "Init": False}), data_dir="/d", exec_ids=[], graph={},
                          sizes=None)["HostConfig"]
    assert shown["Init"] is False


@pytest.mark.parametrize(("filters", "found"), [
    ({}, ["web", "db"]),
    ({"name": ["we"]}, ["web"]),
    ({"name": ["^/db$"]}, ["db"]),
    ({"label": ["a=1"]}, ["web"]),
    ({"label!": ["a=1"]}, ["db"]),
    ({"status": ["exited"]}, ["db"]),
    ({"exited": ["4"]}, ["db"]),
    ({"exited": ["0"]}, []),
    ({"volume": ["vol"]}, ["web", "db"]),
    ({"network": ["bridge"]}, ["web", "db"]),
    ({"expose": ["80"]}, ["web", "db"]),
    ({"publish": ["80"]}, []),
    ({"health": ["none"]}, ["web", "db"]),
    ({"ancestor": ["busybox"]}, ["web", "db"]),
    ({"ancestor": ["other"]}, []),
    ({"before": ["db"]}, ["web"]),
    ({"since": ["web"]}, ["db"]),
])
def test_filters(filters: dict[str, list[str]], found: list[str]) -> None:
    all_of_them = {"web": record(), "db": record("db", state=states.EXITED, exit_code=4, created=NOW,
                                                  config={"Labels": {}, "ExposedPorts": {"80/tcp": {}}})}
    chosen = selection.select(all_of_them.values(), filters, find=lambda name: all_of_them[name],
                              image_ids=lambda name: {"sha256:1"} if name == "busybox" else set())
    assert [one.name for one in chosen] == found


@pytest.mark.parametrize("filters", [{"color": ["x"]}, {"status": ["up"]}, {"health": ["ill"]}, {"exited": ["x"]}])
def test_unknown_filters_are_refused(filters: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidParameter, match=r"invalid filter|unrecognized filter value"):
        selection.check(filters)
