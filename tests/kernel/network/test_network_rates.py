"""A network's rate: a bound for all of its containers together, in each direction."""

from __future__ import annotations

import re

import pytest

from kist.engine.network import Endpoint, Networks
from kist.errors import InvalidParameter
from support.network import MakeNetworks, World, container_id, eventually, netns

RATE, BURST = 800_000, 70_000  # bytes per second; the bucket's size (netlink.request.limit_rate)


def counted(world: World, device: str) -> tuple[str, int, int]:
    """(rate, bytes sent, times that something had to wait) of a device's bucket."""
    shown = world.run("tc", "-s", "qdisc", "show", "dev", device).stdout
    found = re.search(r"qdisc tbf .*?rate (\S+).*?Sent (\d+) bytes.*?overlimits (\d+)", shown, re.DOTALL)
    assert found is not None, shown
    return found[1], int(found[2]), int(found[3])


async def three(networks: Networks) -> list[Endpoint]:
    await networks.create({"Name": "narrow", "Options": {"kist.rate": f"{RATE * 8}bit"}})
    return [await networks.connect(container_id(), name) for name in ("narrow", "narrow", "default")]


async def test_two_containers_share_it(world: World, networks: Networks) -> None:
    """What both send is counted, and held, by one bucket; what both receive by another."""
    one, two, _ = await three(networks)
    made = networks.named("narrow")
    sent, received = made.rate_devices
    assert counted(world, sent)[0] == counted(world, received)[0] == "6400Kbit"
    for endpoint in (one, two):  # to the bridge, and answers from there
        done = world.run("ping", "-f", "-c200", "-s1400", "-W5", endpoint.gateway, on=netns(endpoint))
        assert " 0% packet loss" in done.stdout
    for device in (sent, received):
        _, size, waits = counted(world, device)
        assert 2 * 200 * 1442 <= size < 2.2 * 200 * 1442  # all of both, once
        assert waits  # 577 KB are more than the bucket's 70
    assert (await networks.inspect("narrow"))["Options"] == {"kist.rate": f"{RATE * 8}bit"}


async def test_it_is_the_host_s_and_ends_with_the_network(world: World, networks: Networks) -> None:
    one, two, free = await three(networks)
    made = networks.named("narrow")
    for endpoint in (one, two, free):
        assert "tbf" not in world.run("tc", "qdisc", "show", on=netns(endpoint)).stdout
    assert "clsact" not in world.run("tc", "qdisc", "show", "dev", free.first.host_interface).stdout
    world.serve(netns(one), "tcp:80", "udp:80")
    assert world.ask(f"tcp:{one.ip}:80", netns(two)) == two.ip
    assert world.ask(f"udp:{one.ip}:80", netns(two)) == two.ip
    for endpoint in (one, two):
        await networks.release(endpoint.container_id)
    await networks.remove("narrow")
    shown = world.run("ip", "-br", "link").stdout
    assert not any(name in shown for name in (*made.rate_devices, made.bridge))


async def test_a_new_server_finds_it(world: World, networks: Networks, make_networks: MakeNetworks) -> None:
    await three(networks)
    before = world.run("ip", "-br", "link", "show", "type", "ifb").stdout
    await networks.close()
    second = make_networks()
    await second.open()
    await second.ready()
    assert world.run("ip", "-br", "link", "show", "type", "ifb").stdout == before
    late = await second.connect(container_id(), "narrow")
    assert eventually(lambda: world.run("ping", "-c1", "-W1", late.gateway, on=netns(late)).returncode == 0)
    assert counted(world, second.named("narrow").rate_devices[0])[1] >= 98


@pytest.mark.parametrize(("options", "driver", "words"), [
    ({"kist.rate": "fast"}, "bridge", "invalid rate 'fast'"), ({"kist.rate": "0"}, "bridge", "it is no limit"),
    ({"kist.rate": "1mbit", "parent": "eth0"}, "macvlan", "needs the bridge driver, this is macvlan")])
async def test_what_makes_no_sense(networks: Networks, options: dict[str, str], driver: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        await networks.create({"Name": "odd", "Driver": driver, "Options": options})
