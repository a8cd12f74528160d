"""Containers on the host's own wire: macvlan (and ipvlan, where the kernel has it)."""

from __future__ import annotations

import pytest

from kist.engine.network import Networks
from kist.errors import InvalidParameter, NotSupported
from support.network import OUTSIDE4, World, container_id, netns

IPAM = {"Config": [{"Subnet": "198.51.100.0/24", "Gateway": "198.51.100.254", "IPRange": "198.51.100.64/26"}]}


async def test_macvlan_is_on_the_parents_wire(world: World, networks: Networks) -> None:
    await networks.create({"Name": "wire", "Driver": "macvlan", "IPAM": IPAM, "Options": {"parent": "eth0"}})
    one = await networks.connect(container_id(), "wire", name="one", ports={"80/tcp": [{"HostPort": "8080"}]})
    two = await networks.connect(container_id(), "wire", name="two")
    assert one.ip == "198.51.100.64"
    assert one.gateway == "198.51.100.254"
    assert one.ports == []
    world.serve(world.outside.netns_fd, "tcp:80")
    world.serve(netns(two), "tcp:80")
    assert world.ask(f"tcp:{OUTSIDE4}:80", netns(one)) == one.ip
    assert world.ask(f"tcp:{two.ip}:80", netns(one)) == one.ip
    assert world.ask(f"tcp:{two.ip}:80", world.outside.netns_fd) == OUTSIDE4
    assert one.resolver
    assert one.mac in world.run("ip", "link", "show", "eth0", on=netns(one)).stdout
    assert f"default via {one.gateway}" in world.run("ip", "route", on=netns(one)).stdout


async def test_macvlan_beside_a_bridge(world: World, networks: Networks) -> None:
    await networks.create({"Name": "wire", "Driver": "macvlan", "IPAM": IPAM, "Options": {"parent": "eth0"}})
    both = await networks.connect(container_id(), "bridge", endpoints={"bridge": {}, "wire": {}},
                                  ports={"80/tcp": [{"HostPort": "8080"}]})
    world.serve(netns(both), "tcp:80")
    assert world.ask("tcp:127.0.0.1:8080") == both.attachments[0].gateway
    await networks.detach(both.container_id, "wire")
    assert "eth1" not in world.run("ip", "-br", "link", on=netns(both)).stdout


async def test_ipvlan_or_a_word_about_the_kernel(world: World, networks: Networks) -> None:
    await networks.create({"Name": "wire", "Driver": "ipvlan", "IPAM": IPAM, "Options": {"parent": "eth0"}})
    world.serve(world.outside.netns_fd, "tcp:80")
    if world.run("ip", "link", "add", "probe", "link", "eth0", "type", "ipvlan").returncode:
        with pytest.raises(NotSupported, match="this kernel has no ipvlan devices"):
            await networks.connect(container_id(), "wire")
        return
    world.run("ip", "link", "del", "probe")
    one = await networks.connect(container_id(), "wire")
    assert world.ask(f"tcp:{OUTSIDE4}:80", netns(one)) == one.ip


@pytest.mark.parametrize("options", [
    {"parent": "nothing0"}, {"parent": "eth0", "macvlan_mode": "odd"}, {"parent": "eth0.x"},
])
async def test_nonsense_is_refused(networks: Networks, options: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter):
        await networks.create({"Name": "wire", "Driver": "macvlan", "IPAM": IPAM, "Options": options})
    assert len(await networks.list()) == 3
