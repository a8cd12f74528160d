"""Published ports and the host's firewall, with the real ufw and firewalld: no hole past it, and the documented words
that let containers through (docs/networking.md, "Hosts that forward nothing")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from kist.engine.network import Endpoint, Networks
from support.firewalls import Firewalld, Ufw
from support.network import HOST4, HOST6, OUTSIDE4, OUTSIDE6, World, container_id, netns

PORTS = {"80/tcp": [{"HostPort": "8080"}], "53/udp": [{"HostPort": "5353"}]}


@pytest.fixture
def stack(world: World) -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


async def web(world: World, networks: Networks, network: str = "default") -> Endpoint:
    made = await networks.connect(container_id(), network, ports=PORTS)
    world.serve(netns(made), "tcp:80", "udp:53")
    return made


def outside(world: World, place: str, patience: float = 1) -> str:
    """What another machine hears. One who expects an answer is to wait for it: a lost packet comes again after 1 s."""
    return world.ask(place, world.outside.netns_fd, timeout=patience)


# -- ufw --------------------------------------------------------------------------------------------------------


async def test_ufw_closes_a_published_port(world: World, networks: Networks, stack: ExitStack) -> None:
    one = await web(world, networks)
    assert outside(world, f"tcp:{HOST4}:8080", patience=10) == OUTSIDE4
    ufw = Ufw(stack, world)
    assert any("ip filter FORWARD drops" in words for words in await networks.warnings())
    ufw.ufw("route", "allow", "out", "on", "kist0")  # as documented; the ports are a matter of input rules still
    assert outside(world, f"tcp:{HOST4}:8080") == "silence"
    assert outside(world, f"udp:{HOST4}:5353") == "silence"
    assert world.ask("tcp:127.0.0.1:8080") == one.gateway  # the host itself isn't outside
    ufw.ufw("allow", "8080/tcp")
    assert outside(world, f"tcp:{HOST4}:8080", patience=10) == OUTSIDE4
    assert outside(world, f"udp:{HOST4}:5353") == "silence"
    ufw.ufw("delete", "allow", "8080/tcp")
    ufw.ufw("deny", "8080/tcp")
    assert outside(world, f"tcp:{HOST4}:8080") == "silence"


async def test_ufw_allows_by_the_callers_address(world: World, networks: Networks, stack: ExitStack) -> None:
    """The rule sees who calls, not a translated address."""
    await web(world, networks)
    ufw = Ufw(stack, world)
    ufw.ufw("route", "allow", "out", "on", "kist0")
    ufw.ufw("allow", "proto", "tcp", "from", "198.51.100.99", "to", "any", "port", "8080")
    assert outside(world, f"tcp:{HOST4}:8080") == "silence"
    ufw.ufw("allow", "proto", "tcp", "from", OUTSIDE4, "to", "any", "port", "8080")
    assert outside(world, f"tcp:{HOST4}:8080", patience=10) == OUTSIDE4


async def test_ufw_and_ipv6(world: World, networks: Networks, stack: ExitStack) -> None:
    made = await networks.create({"Name": "six", "EnableIPv6": True})
    await web(world, networks, "six")
    ufw = Ufw(stack, world)
    ufw.ufw("route", "allow", "out", "on", f"kb{made['Id'][:12]}")
    assert outside(world, f"tcp:[{HOST6}]:8080") == "silence"
    ufw.ufw("allow", "8080/tcp")
    assert outside(world, f"tcp:[{HOST6}]:8080", patience=10) == OUTSIDE6


async def test_ufw_lets_containers_out_as_documented(world: World, networks: Networks, stack: ExitStack) -> None:
    one = await web(world, networks)
    world.serve(world.outside.netns_fd, "tcp:99")
    ufw = Ufw(stack, world)
    assert world.ask(f"tcp:{OUTSIDE4}:99", netns(one), timeout=1) == "silence"
    ufw.ufw("route", "allow", "in", "on", "kist0")
    assert world.ask(f"tcp:{OUTSIDE4}:99", netns(one)) == HOST4


async def test_ufw_reloads_and_our_rules_stay(world: World, networks: Networks, stack: ExitStack) -> None:
    await web(world, networks)
    ufw = Ufw(stack, world)
    for words in (("route", "allow", "out", "on", "kist0"), ("allow", "8080/tcp"), ("reload",)):
        ufw.ufw(*words)
    assert outside(world, f"tcp:{HOST4}:8080", patience=10) == OUTSIDE4
    ufw.ufw("disable")
    assert outside(world, f"udp:{HOST4}:5353", patience=10) == OUTSIDE4


async def test_the_switch_is_docker_s_way_past_ufw(
    world: World, make_networks: Callable[..., Networks], stack: ExitStack,
) -> None:
    networks = make_networks(respect_host_firewall=False)
    await networks.open()
    await networks.ready()
    await web(world, networks)
    ufw = Ufw(stack, world)
    ufw.ufw("route", "allow", "out", "on", "kist0")
    ufw.ufw("deny", "8080/tcp")
    assert outside(world, f"tcp:{HOST4}:8080", patience=10) == OUTSIDE4


# -- firewalld --------------------------------------------------------------------------------------------------


async def test_firewalld_closes_a_published_port(world: World, networks: Networks, stack: ExitStack) -> None:
    one = await web(world, networks)
    firewalld = Firewalld(stack, world)
    firewalld.cmd("--zone=trusted", "--add-interface=kist0")  # as documented
    assert outside(world, f"tcp:{HOST4}:8080").startswith("unreachable")
    assert world.ask("tcp:127.0.0.1:8080") == one.gateway
    firewalld.cmd("--zone=public", "--add-port=8080/tcp")
    assert outside(world, f"tcp:{HOST4}:8080", patience=10) == OUTSIDE4
    assert outside(world, f"udp:{HOST4}:5353") != OUTSIDE4
    firewalld.cmd("--zone=public", "--add-rich-rule=rule family=ipv4 source address=198.51.100.0/24 drop")
    assert outside(world, f"tcp:{HOST4}:8080") == "silence"


async def test_firewalld_and_the_way_out(world: World, networks: Networks, stack: ExitStack) -> None:
    one = await web(world, networks)
    world.serve(world.outside.netns_fd, "tcp:99")
    firewalld = Firewalld(stack, world)
    assert world.ask(f"tcp:{OUTSIDE4}:99", netns(one), timeout=1).startswith("unreachable")
    firewalld.cmd("--permanent", "--zone=trusted", "--add-interface=kist0")
    firewalld.cmd("--reload")
    assert world.ask(f"tcp:{OUTSIDE4}:99", netns(one)) == HOST4
    assert outside(world, f"tcp:{HOST4}:8080").startswith("unreachable")  # a reload takes nothing of ours away
    firewalld.cmd("--add-port=8080/tcp")
    assert outside(world, f"tcp:{HOST4}:8080", patience=10) == OUTSIDE4
