"""`volume create ls inspect rm prune` and `system df`, key for key and word for word as Docker's.

What stands here as expected was answered by real Docker 26 to the same requests.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from support import needs
from support.daemon import Daemon
from system.api_http import ask

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
BY = pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
ANONYMOUS = {"com.docker.volume.anonymous": ""}
TMPFS = {"type": "tmpfs", "o": "size=1m", "device": "tmpfs"}


def made(server: Daemon, body: Any) -> tuple[int, Any]:
    return ask(server, "POST", "/v1.45/volumes/create", body)


def filtered(server: Daemon, **filters: list[str]) -> list[str]:
    status, answer = ask(server, "GET", f"/v1.45/volumes?filters={quote(json.dumps(filters))}")
    assert status == 200, answer
    return [volume["Name"] for volume in answer["Volumes"]]


def seen(server: Daemon, name: str, *, labels: Any = None, options: Any = None) -> dict[str, Any]:
    """A volume as the API shows it, but for its time."""
    return {"Driver": "local", "Labels": labels, "Mountpoint": f"{server.data}/volumes/{name}/_data", "Name": name,
            "Options": options, "Scope": "local"}


def timeless(volume: dict[str, Any]) -> dict[str, Any]:
    assert TIME.fullmatch(volume["CreatedAt"])
    return {key: value for key, value in volume.items() if key != "CreatedAt"}


def test_create_inspect_and_list_by_the_api(server: Daemon) -> None:
    status, plain = made(server, {"Name": "plain"})
    assert (status, timeless(plain)) == (201, seen(server, "plain"))
    assert made(server, {"Name": "plain", "DriverOpts": TMPFS}) == (201, plain)  # it is there: nothing changes
    assert made(server, {"Name": "plain", "DriverOpts": {"nonsense": "x"}}) == (201, plain)
    status, labelled = made(server, {"Name": "labelled", "Labels": {"a": "b", "c": ""}, "DriverOpts": {}})
    assert (status, timeless(labelled)) == (201, seen(server, "labelled", labels={"a": "b", "c": ""}, options={}))
    status, nameless = made(server, {})
    assert (status, timeless(nameless)) == (201, seen(server, nameless["Name"], labels=ANONYMOUS))
    assert re.fullmatch("[0-9a-f]{64}", nameless["Name"])
    status, ram = made(server, {"Name": "ram", "DriverOpts": TMPFS})
    assert (status, timeless(ram)) == (201, seen(server, "ram", options=TMPFS))
    assert list(ram["Options"]) == ["device", "o", "type"]
    for one in (plain, labelled, nameless, ram):
        assert ask(server, "GET", f"/v1.45/volumes/{one['Name']}") == (200, one)
    status, answer = ask(server, "GET", "/v1.45/volumes")
    assert status == 200 and answer["Warnings"] is None
    assert sorted(map(str, answer["Volumes"])) == sorted(map(str, (plain, labelled, nameless, ram)))
    usage = ask(server, "GET", "/v1.45/system/df?type=volume")[1]
    assert {key: usage[key] for key in usage if key != "Volumes"} == {
        "LayersSize": 0, "Images": None, "Containers": None, "BuildCache": None}
    rows = {row["Name"]: row for row in usage["Volumes"]}  # what lies elsewhere takes nothing here
    assert rows == {one["Name"]: {**one, "UsageData": {"Size": 0, "RefCount": 0}}
                    for one in (plain, labelled, nameless)}


REFUSED = [
    ({"Name": "x"}, 400, "create x: volume name is too short, names should be at least two alphanumeric characters"),
    ({"Name": "a b"}, 400, 'create a b: "a b" includes invalid characters for a local volume name, only '
                           '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use '
                           "absolute path"),
    ({"Name": "xx", "Driver": "nope"}, 404, 'create xx: error looking up volume plugin nope: plugin "nope" not found'),
    ({"Name": "xx", "DriverOpts": {"type": "nfs"}}, 400, 'create xx: missing required option: "device"'),
    ({"Name": "xx", "DriverOpts": {"size": "abc"}}, 400, "create xx: invalid size: 'abc'"),
]


def test_refusals(server: Daemon) -> None:
    for body, status, words in REFUSED:
        assert made(server, body) == (status, {"message": words})
    missing = {"message": "get nope: no such volume"}
    assert ask(server, "GET", "/v1.45/volumes/nope") == (404, missing)
    assert ask(server, "DELETE", "/v1.45/volumes/nope") == (404, missing)
    assert ask(server, "DELETE", "/v1.45/volumes/nope?force=1") [0] == 204
    for filters, words in (('{"foo":["x"]}', "invalid filter 'foo'"), ('{"label!":["x"]}', "invalid filter 'label!'"),
                           ('{"dangling":["x"]}', "invalid filter 'dangling=[x]'"),
                           ('{"dangling":["true","false"]}', "invalid filter 'dangling=[true false]'"),
                           ("x", "error reading volume filters: invalid filter")):
        assert ask(server, "GET", f"/v1.45/volumes?filters={quote(filters)}") == (400, {"message": words})
    for filters, words in (('{"foo":["x"]}', "invalid filter 'foo'"),
                           ('{"all":["x"]}', "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax")):
        assert ask(server, "POST", f"/v1.45/volumes/prune?filters={quote(filters)}") == (400, {"message": words})


def test_filters(server: Daemon) -> None:
    for name, labels in (("one", {"a": "1"}), ("two", {"a": "2", "b": ""}), ("three", None)):
        made(server, {"Name": name, "Labels": labels})
    server.ok("create", "-v", "one:/x", "busybox")
    assert filtered(server, name=["t"]) == ["three", "two"]
    assert filtered(server, name=["^t.o$"]) == ["two"]
    assert filtered(server, name=["one", "ee"]) == ["one", "three"]
    assert filtered(server, label=["a"]) == ["one", "two"]
    assert filtered(server, label=["a=2", "b"]) == ["two"]
    assert filtered(server, label=["a", "c"]) == []
    assert filtered(server, driver=["local"]) == ["one", "three", "two"]
    assert filtered(server, driver=["loc"]) == []
    for yes, no in (("true", "false"), ("1", "0"), ("T", "f")):
        assert filtered(server, dangling=[yes]) == ["three", "two"]
        assert filtered(server, dangling=[no]) == ["one"]


@BY
def test_by_the_command(server: Daemon, by: str) -> None:
    def said(*args: str, status: int = 0) -> tuple[str, str]:
        done = getattr(server, by)(*args)
        assert done.returncode == status, (args, done)
        return done.stdout, done.stderr.replace("daemon: ", "server: ")

    assert said("volume", "create", "--label", "a=b", "--label", "c", "vol")[0] == "vol\n"
    nameless = said("volume", "create")[0].strip()
    assert said("volume", "create", "--name", "other")[0] == "other\n"
    assert said("volume", "create", "-d", "local", "-o", "type=tmpfs", "-o", "device=tmpfs", "ram")[0] == "ram\n"
    assert said("volume", "ls") == ("DRIVER    VOLUME NAME\n" + "".join(
        f"local     {name}\n" for name in sorted(["vol", "other", "ram", nameless])), "")
    assert json.loads(said("volume", "ls", "--format", "json", "--filter", "name=vol")[0]) == {
        "Availability": "N/A", "Driver": "local", "Group": "N/A", "Labels": "a=b,c=", "Links": "N/A",
        "Mountpoint": f"{server.data}/volumes/vol/_data", "Name": "vol", "Scope": "local", "Size": "N/A",
        "Status": "N/A"}
    out, err = said("volume", "inspect", "nope", "vol", status=1)
    assert json.loads(out) == [ask(server, "GET", "/v1.45/volumes/vol")[1]]
    assert "get nope: no such volume" in err
    out, err = said("volume", "rm", "nope", "other", status=1)
    assert out == "other\n" and "Error response from server: get nope: no such volume" in err
    assert said("volume", "rm", "-f", "nope") == ("nope\n", "")
    box = said("create", "-v", "vol:/x", "busybox")[0].strip()
    for args in (("volume", "rm", "vol"), ("volume", "rm", "-f", "vol")):
        assert f"remove vol: volume is in use - [{box}]" in said(*args, status=1)[1]
    out = said("system", "df", "-v")[0]
    table = out[out.index("Local Volumes space usage:"):out.index("Build cache usage")]
    assert [line.split() for line in table.splitlines()[2:] if line] == [
        ["VOLUME", "NAME", "LINKS", "SIZE"], *sorted([["vol", "1", "0B"], [nameless, "0", "0B"]],
                                                      key=lambda row: [line.split()[0] for line in table.splitlines()
                                                                       if line].index(row[0]))]
    assert any(line.split() == ["Local", "Volumes", "2", "1", "0B", "0B"]
               for line in said("system", "df")[0].splitlines())


def test_before_api_1_42_a_prune_takes_named_ones_too(server: Daemon) -> None:
    made(server, {"Name": "named"})
    assert ask(server, "POST", "/v1.42/volumes/prune")[1] == {"VolumesDeleted": [], "SpaceReclaimed": 0}
    keep = quote('{"all":["false"]}')
    assert ask(server, "POST", f"/v1.41/volumes/prune?filters={keep}")[1]["VolumesDeleted"] == []
    assert ask(server, "POST", "/v1.41/volumes/prune") == (200, {"VolumesDeleted": ["named"], "SpaceReclaimed": 0})


@BY
def test_prune(server: Daemon, by: str) -> None:
    """Anonymous ones since API v1.42, all of them with --all; never what lies elsewhere."""
    def prune(*args: str) -> list[str]:
        done = getattr(server, by)("volume", "prune", *args)
        assert done.returncode == 0, done
        lines: list[str] = done.stdout.splitlines()
        assert lines[-1] == "Total reclaimed space: 0B"
        return sorted(lines[1:-2]) if lines[0] == "Deleted Volumes:" else []

    nameless = [server.ok("volume", "create") for _ in range(2)]
    for args in (["--label", "a=b", "labelled"], ["plain"], ["-o", "type=tmpfs", "-o", "device=tmpfs", "ram"],
                 ["-o", "size=8m", "bounded"]):
        server.ok("volume", "create", *args)
    server.ok("create", "-v", f"{nameless[0]}:/x", "-v", "/anonymous", "busybox")
    assert prune("-f", "--filter", "label=zzz") == []
    assert prune("-f", "--filter", "label!=com.docker.volume.anonymous") == []
    assert prune("-f") == [nameless[1]]
    assert prune("-af", "--filter", "label=a=b") == ["labelled"]
    server.ok("volume", "rm", "bounded")  # it takes a little: the last line would say so
    assert prune("-af") == ["plain"]
    assert "ram" in filtered(server, dangling=["true"])
    assert len(filtered(server, dangling=["false"])) == 2
    asked = getattr(server, by)("volume", "prune", input="n\n")
    assert asked.stdout.startswith("WARNING! This will remove anonymous local volumes not used by at least one "
                                   "container.\nAre you sure you want to continue? [y/N] ")
    asked = getattr(server, by)("volume", "prune", "-a", input="n\n")
    assert asked.stdout.startswith("WARNING! This will remove all local volumes not used by at least one container.")
    done = getattr(server, by)("volume", "prune", "-af", "--filter", "all=1")
    assert done.returncode == 1 and "conflicting options: cannot specify both --all and --filter all=1" in done.stderr
