"""Networks by the bare API and docker-py, where requests are odd: what Docker 26 answers, laid beside it by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import docker
import pytest

from support.daemon import Daemon
from system.api_http import ask

PRIVATE = ("container cannot be connected to multiple networks with one of the networks in private (none) mode")


@pytest.fixture
def api(daemon: Daemon) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=f"unix://{daemon.socket}", version="auto", timeout=30)
    yield client
    daemon.clean()
    for network in client.networks.list():
        if network.name not in ("bridge", "host", "none"):
            network.remove()
    client.close()


def networks_of(daemon: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = ask(daemon, "GET", f"/v1.45/containers/{name}/json")[1]["NetworkSettings"]["Networks"]
    return found


def connect(daemon: Daemon, network: str, container: str, **settings: Any) -> tuple[int, Any]:
    return ask(daemon, "POST", f"/v1.45/networks/{quote(network)}/connect",
               {"Container": container, "EndpointConfig": settings})


@pytest.mark.parametrize("name", ["a b/c", "日本", "100%", "a?b#c"])
def test_a_network_of_any_name_by_the_docker_client(daemon: Daemon, api: docker.DockerClient, name: str) -> None:
    assert daemon.docker("network", "create", name).returncode == 0
    assert daemon.docker("network", "inspect", "-f", "{{.Name}}", name).stdout == f"{name}\n"
    assert api.networks.get(name).name == name
    assert daemon.docker("run", "-d", "--name", "one", "--network", name, "busybox", "sleep", "600").returncode == 0
    assert list(networks_of(daemon, "one")) == [name]
    for verb in ("disconnect", "connect"):
        done = daemon.docker("network", verb, name, "one")
        assert done.returncode == 0, done.stderr
    daemon.ok("rm", "-f", "one")
    assert daemon.kist("network", "rm", name).stdout == f"{name}\n"


def test_configurations_by_the_docker_client(daemon: Daemon, api: docker.DockerClient) -> None:
    third = int(daemon.tag[:2], 16)
    assert daemon.docker("network", "create", "--config-only", "--subnet", f"10.250.{third}.0/24", "--label", "a=b",
                         "settings").returncode == 0
    assert daemon.docker("network", "create", "--config-from", "settings", "--internal", "made").returncode == 0
    made = json.loads(daemon.docker("network", "inspect", "made").stdout)[0]
    assert (made["ConfigFrom"], made["ConfigOnly"], made["Labels"]) == ({"Network": "settings"}, False, {"a": "b"})
    rows = daemon.docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}", "--filter",
                         "name=^(settings|made)$").stdout
    assert sorted(rows.splitlines()) == ["made bridge local", "settings null local"]
    refused = daemon.docker("network", "rm", "settings")
    assert 'configuration network "settings" is in use' in refused.stderr
    refused = daemon.docker("run", "--rm", "--network", "settings", "busybox", "true")
    assert (refused.returncode, "cannot create endpoint on configuration-only network" in refused.stderr) == (125, True)
    assert api.networks.prune()["NetworksDeleted"] == ["made"]  # a configuration isn't pruned
    assert {one.name for one in api.networks.list(filters={"driver": "null"})} == {"settings", "none"}
    assert daemon.kist("network", "rm", "settings").returncode == 0


def test_a_container_that_left_its_last_network_joins_another(daemon: Daemon, api: docker.DockerClient) -> None:
    """While it runs, and while it doesn't; and it is where it was after its next start."""
    api.networks.create("front")
    for name, running in (("up", True), ("down", False), ("again", True)):
        daemon.ok(*(("run", "-d") if running else ("create",)), "--name", name, "busybox", "sleep", "600")
        assert ask(daemon, "POST", "/v1.45/networks/bridge/disconnect", {"Container": name})[0] == 200
        assert networks_of(daemon, name) == {}
        if name == "again":  # it starts without a network, and yet isn't one that wants none
            daemon.ok("restart", "-t", "0", name)
        assert connect(daemon, "front", name, Aliases=["x"])[0] == 200
        assert networks_of(daemon, name)["front"]["Aliases"] == ["x"]
        daemon.ok("restart", "-t", "0", name)
        shown = networks_of(daemon, name)
        assert (list(shown), bool(shown["front"]["IPAddress"])) == (["front"], True)


def test_what_a_stopped_container_may_connect_to(daemon: Daemon, api: docker.DockerClient) -> None:
    api.networks.create("front")
    daemon.ok("create", "--name", "still", "busybox", "sleep", "600")
    daemon.ok("create", "--name", "alone", "--network", "none", "busybox", "sleep", "600")
    assert connect(daemon, "none", "still") == (400, {"message": PRIVATE})
    assert connect(daemon, "front", "alone") == (400, {"message": PRIVATE})
    assert connect(daemon, "front", "") == (400, {"message": 'invalid name or ID supplied: ""'})
    for aliases in (["a"], ["b"]):  # again: with these settings
        assert connect(daemon, "front", "still", Aliases=aliases)[0] == 200
        assert networks_of(daemon, "still")["front"]["Aliases"] == aliases
    daemon.ok("start", "still")
    assert networks_of(daemon, "still")["front"]["Aliases"] == ["b"]


def test_the_address_config_is_what_was_asked_for(daemon: Daemon, api: docker.DockerClient) -> None:
    third = int(daemon.tag[:2], 16)
    pool = docker.types.IPAMPool(subnet=f"10.250.{third}.0/24")
    api.networks.create("front", ipam=docker.types.IPAMConfig(pool_configs=[pool]))
    address = f"10.250.{third}.9"
    daemon.ok("run", "-d", "--name", "one", "--network", "front", "--ip", address, "busybox", "sleep", "600")
    assert networks_of(daemon, "one")["front"]["IPAMConfig"] == {"IPv4Address": address}


@pytest.mark.parametrize(("filters", "words"), [
    ({"until": ["x"]}, 'failed to parse value as time or duration: "x"'),
    ({"until": [""]}, 'failed to parse value as time or duration: ""'),
    ({"until": ["1h", "2h"]}, "more than one until filter specified"),
    ({"name": ["x"]}, "invalid filter 'name'"), ({"dangling": ["true"]}, "invalid filter 'dangling'"),
])
def test_what_prune_refuses(daemon: Daemon, filters: dict[str, list[str]], words: str) -> None:
    answer = ask(daemon, "POST", f"/v1.45/networks/prune?filters={quote(json.dumps(filters))}")
    assert answer == (400, {"message": words})


def test_prune_until(daemon: Daemon, api: docker.DockerClient) -> None:
    api.networks.create("young")
    assert api.networks.prune(filters={"until": "1h"})["NetworksDeleted"] is None
    assert api.networks.prune(filters={"until": "0s"})["NetworksDeleted"] == ["young"]


def test_null_is_no_filter(daemon: Daemon) -> None:
    status, found = ask(daemon, "GET", "/v1.45/networks?filters=null")
    assert (status, len(found)) == (200, 3)


def test_names_that_no_url_can_hold_unquoted(daemon: Daemon, api: docker.DockerClient) -> None:
    """The docker client makes `/x` of `/networks/../x`; ours says what it means."""
    for name in ("../x", ".."):
        daemon.ok("network", "create", name)
        assert daemon.kist("network", "rm", name).stdout == f"{name}\n"
