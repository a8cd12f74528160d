"""Networks as docker-py drives them."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import docker.errors
import pytest
from docker.types import IPAMConfig, IPAMPool

from support.daemon import Daemon


@pytest.fixture
def api(daemon: Daemon) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=f"unix://{daemon.socket}", version="auto", timeout=30)
    yield client
    daemon.clean()
    client.close()


def test_the_life_of_a_network(api: docker.DockerClient, daemon: Daemon) -> None:
    third = int(daemon.tag[:2], 16)
    pool = IPAMPool(subnet=f"10.249.{third}.0/24", gateway=f"10.249.{third}.254", iprange=f"10.249.{third}.128/25",
                    aux_addresses={"printer": f"10.249.{third}.130"})
    net = api.networks.create(f"py-{daemon.tag}", driver="bridge", ipam=IPAMConfig(pool_configs=[pool]),
                              labels={"kind": "py"}, options={"com.docker.network.driver.mtu": "1400"})
    assert [one.id for one in api.networks.list(filters={"label": "kind=py"})] == [net.id]
    box = api.containers.run("busybox", ["sleep", "1000"], detach=True, name="box")
    net.connect(box, aliases=["app"], ipv4_address=f"10.249.{third}.77")
    box.reload()
    here = box.attrs["NetworkSettings"]["Networks"][net.name]
    assert (here["IPAddress"], here["Gateway"]) == (f"10.249.{third}.77", f"10.249.{third}.254")
    assert "app" in here["Aliases"]
    assert b"mtu 1400" in box.exec_run(["ip", "link", "show", "eth1"]).output
    asker = api.containers.run("busybox", ["ping", "-c", "1", "-W", "5", "app"], network=net.name, remove=True)
    assert f"10.249.{third}.77".encode() in asker
    net.reload()
    assert [one.name for one in net.containers] == ["box"]
    with pytest.raises(docker.errors.APIError, match="has active endpoints"):
        net.remove()
    net.disconnect(box)
    box.reload()
    assert list(box.attrs["NetworkSettings"]["Networks"]) == ["bridge"]
    net.remove()
    with pytest.raises(docker.errors.NotFound, match="not found"):
        api.networks.get(net.id)


def test_two_networks_at_creation_and_the_way_out(api: docker.DockerClient, daemon: Daemon) -> None:
    nets = [api.networks.create(f"{name}-{daemon.tag}") for name in ("a", "b")]
    settings = {one.name: api.api.create_endpoint_config(aliases=[f"on-{one.name[0]}"]) for one in nets}
    made = api.api.create_container("busybox", ["sleep", "1000"], networking_config={"EndpointsConfig": settings},
                                    host_config=api.api.create_host_config(network_mode=nets[0].name))
    api.api.start(made)
    box = api.containers.get(made["Id"])
    assert set(box.attrs["NetworkSettings"]["Networks"]) == {one.name for one in nets}
    route = box.exec_run(["ip", "route", "show", "default"]).output.decode()
    assert box.attrs["NetworkSettings"]["Networks"][nets[0].name]["Gateway"] in route


def test_what_is_pruned(api: docker.DockerClient, daemon: Daemon) -> None:
    kept = api.networks.create(f"kept-{daemon.tag}", labels={"keep": "yes"})
    used = api.networks.create(f"used-{daemon.tag}")
    gone = api.networks.create(f"gone-{daemon.tag}")
    api.containers.create("busybox", ["true"], network=used.name)  # not running, and yet it needs it
    found = api.networks.prune(filters={"label!": ["keep=yes"]})["NetworksDeleted"]
    assert gone.name in found
    assert not {kept.name, used.name} & set(found)
    kept.remove()


def test_published_ports_are_found_again(api: docker.DockerClient) -> None:
    box = api.containers.run("busybox", ["sleep", "1000"], detach=True, ports={
        "80/tcp": ("127.0.0.1", None), "53/udp": [None, None]})
    box.reload()
    assert box.ports["80/tcp"][0]["HostIp"] == "127.0.0.1"
    numbers = {one["HostPort"] for one in box.ports["53/udp"]}
    assert len(numbers) == 2
