"""What a container must not be able to do, and what the host may do to the rules."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from kist.engine.network import Endpoint, Networks
from support.network import HOST4, OUTSIDE4, MakeNetworks, World, container_id, eventually, netns

ARP = """
import socket, sys, struct
mac, ip, target = bytes.fromhex(sys.argv[1].replace(":", "")), sys.argv[2], sys.argv[3]
one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
one.bind(("eth0", 0))
body = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + mac + socket.inet_aton(ip) + bytes(6) + socket.inet_aton(target)
one.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + body)
"""


async def test_networks_are_isolated_from_each_other(world: World, networks: Networks) -> None:
    await networks.create({"Name": "one"})
    await networks.create({"Name": "two"})
    first = await networks.connect(container_id(), "one")
    second = await networks.connect(container_id(), "two")
    third = await networks.connect(container_id(), "default")
    for each in (second, third):
        world.serve(netns(each), "tcp:80")
        assert world.ask(f"tcp:{each.ip}:80", netns(first), timeout=1) == "silence"
        assert world.ask(f"tcp:{each.ip}:80") == each.gateway


def pass_bridged(world: World, value: str) -> None:
    """Whether frames between the ports of one bridge pass the packet filter for IP."""
    for kind in ("iptables", "ip6tables"):
        world.sysctl(f"bridge/bridge-nf-call-{kind}", value)


@pytest.mark.parametrize(("bridged", "later"), [("0", "0"), ("1", "1"), ("1", "0"), ("0", "1")])
async def test_containers_without_icc_cant_talk(
    world: World, make_networks: MakeNetworks, bridged: str, later: str,
) -> None:
    """Whether or not frames between ports of a bridge pass the packet filter for IP (and whoever switches that while
    the server runs: the loading of br_netfilter, a Kubernetes beside Kist), and not by way of the host."""
    pass_bridged(world, bridged)
    networks = make_networks()
    await networks.open()
    await networks.ready()
    pass_bridged(world, later)
    options = {"com.docker.network.bridge.enable_icc": "false"}
    await networks.create({"Name": "quiet", "EnableIPv6": True, "Options": options})
    first = await networks.connect(container_id(), "quiet")
    second = await networks.connect(container_id(), "quiet", ports={"80/tcp": [{"HostPort": "8080"}]})
    world.serve(netns(second), "tcp:80")
    world.serve(world.outside.netns_fd, "tcp:80")

    def shut() -> bool:
        return {world.ask(f"tcp:{address}:80", netns(first), timeout=1)
                for address in (second.ip, f"[{second.first.ip6}]")} == {"silence"}

    assert shut()
    world.run("ip", "route", "add", f"{second.ip}/32", "via", first.gateway, on=netns(first))
    world.run("ip", "-6", "route", "add", f"{second.first.ip6}/128", "via", first.first.gateway6, on=netns(first))
    assert shut()
    assert world.ask(f"tcp:{OUTSIDE4}:80", netns(first)) == HOST4
    assert world.ask(f"tcp:{second.ip}:80") == second.gateway
    assert world.ask(f"tcp:{HOST4}:8080", netns(first)) == first.gateway  # published: for all
    assert world.ask(f"tcp:{HOST4}:8080", netns(second)) == second.gateway


@pytest.mark.parametrize("bridged", ["0", "1"])
async def test_a_link_opens_what_the_other_exposes(world: World, make_networks: MakeNetworks, bridged: str) -> None:
    """As dockerd --icc=false: the ports that the linked one exposes, for the one with the link, while both run."""
    pass_bridged(world, bridged)
    networks = make_networks(icc=False, ipv6=True)
    await networks.open()
    await networks.ready()
    assert (await networks.inspect("bridge"))["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    before = world.run("nft", "-s", "list", "ruleset").stdout
    child, third = await networks.connect(container_id(), "default"), await networks.connect(container_id(), "default")
    world.serve(netns(child), "tcp:80", "udp:53", "tcp:81")
    parent = await networks.connect(container_id(), "default", links={child.container_id: ["80/tcp", "53/udp"]})

    def reached(one: Endpoint, *where: str) -> list[str]:
        return [world.ask(place, netns(one), timeout=1) for place in where]

    open_ = (f"tcp:{child.ip}:80", f"udp:{child.ip}:53", f"tcp:[{child.first.ip6}]:80")
    assert reached(parent, *open_) == [parent.ip, parent.ip, parent.first.ip6]
    assert reached(parent, f"tcp:{child.ip}:81", f"tcp:{third.ip}:80") == ["silence", "silence"]
    assert reached(third, *open_) == ["silence"] * 3

    record = parent.record()  # another server goes on with it
    await networks.close()
    second = make_networks(icc=False, ipv6=True)
    await second.open()
    for kept in (child.record(), third.record(), record):
        await second.adopt(kept["container_id"], kept, os.getpid())
    await second.ready()
    linked = world.run("nft", "list", "set", "bridge", "kist", "linked").stdout
    assert f"{parent.ip} . {child.ip} . tcp . 80" in linked

    await second.release(child.container_id)
    assert child.ip not in world.run("nft", "list", "ruleset").stdout
    again = await second.connect(child.container_id, "default")
    assert f"{parent.ip} . {again.ip} . udp . 53" in world.run("nft", "list", "set", "bridge", "kist", "linked").stdout
    for one in (parent, again, third):
        await second.release(one.container_id)
    assert world.run("nft", "-s", "list", "ruleset").stdout == before


async def test_internal_networks_have_no_way_out(world: World, networks: Networks) -> None:
    await networks.create({"Name": "inner", "Internal": True})
    first = await networks.connect(container_id(), "inner")
    second = await networks.connect(container_id(), "inner")
    world.serve(netns(second), "tcp:80")
    world.serve(world.outside.netns_fd, "tcp:80")
    assert world.ask(f"tcp:{second.ip}:80", netns(first)) == first.ip
    assert "unreachable" in world.ask(f"tcp:{OUTSIDE4}:80", netns(first), timeout=1)
    gateway = str(networks.named("inner").subnets[0].gateway)
    world.run("ip", "route", "add", "default", "via", gateway, on=netns(first))
    assert world.ask(f"tcp:{OUTSIDE4}:80", netns(first), timeout=1) == "silence"


async def test_a_container_cant_take_anothers_address(world: World, networks: Networks) -> None:
    attacker = await networks.connect(container_id(), "default")
    victim = await networks.connect(container_id(), "default")
    other = await networks.connect(container_id(), "default")
    world.serve(netns(other), "tcp:80", "udp:80")
    assert world.ask(f"tcp:{other.ip}:80", netns(attacker)) == attacker.ip
    world.run("ip", "addr", "add", f"{victim.ip}/16", "dev", "eth0", on=netns(attacker))
    world.run("ip", "addr", "del", f"{attacker.ip}/16", "dev", "eth0", on=netns(attacker))
    assert world.ask(f"tcp:{other.ip}:80", netns(attacker), timeout=1) != victim.ip
    assert world.ask(f"tcp:{other.ip}:80", netns(victim)) == victim.ip


async def test_a_container_cant_spoof_arp(world: World, networks: Networks) -> None:
    attacker = await networks.connect(container_id(), "default")
    victim = await networks.connect(container_id(), "default")
    other = await networks.connect(container_id(), "default")
    command = (sys.executable, "-I", "-S", "-c", ARP)
    for mac, ip in ((attacker.mac, victim.ip), ("02:00:00:00:00:01", attacker.ip), (attacker.mac, victim.gateway)):
        assert world.run(*command, mac, ip, other.ip, on=netns(attacker)).returncode == 0
    assert world.run(*command, attacker.mac, attacker.ip, other.ip, on=netns(attacker)).returncode == 0
    assert eventually(lambda: attacker.ip in world.run("ip", "neigh", on=netns(other)).stdout)
    known = world.run("ip", "neigh", on=netns(other)).stdout
    assert victim.ip not in known
    assert "02:00:00:00:00:01" not in known
    assert not any(attacker.mac in line and victim.gateway in line for line in known.splitlines())


async def test_a_network_may_do_without_the_guard(world: World, networks: Networks) -> None:
    await networks.create({"Name": "free", "Options": {"kist.spoof_protection": "false"}})
    first = await networks.connect(container_id(), "free")
    second = await networks.connect(container_id(), "free")
    world.serve(netns(second), "tcp:80")
    base = first.ip.rpartition(".")[0]
    world.run("ip", "addr", "add", f"{base}.99/24", "dev", "eth0", on=netns(first))
    world.run("ip", "addr", "del", f"{first.ip}/24", "dev", "eth0", on=netns(first))
    world.run("ip", "addr", "add", f"{base}.99/24", "dev", "eth0", on=netns(first))
    assert world.ask(f"tcp:{second.ip}:80", netns(first)) == f"{base}.99"


async def test_rules_come_back_when_the_host_flushes_all(world: World, networks: Networks) -> None:
    """Debian's nftables.service begins with `flush ruleset`."""
    endpoint = await networks.connect(container_id(), "default", ports={"80/tcp": [{"HostPort": "8080"}]})
    world.serve(netns(endpoint), "tcp:80")
    before = world.run("nft", "-s", "list", "ruleset").stdout
    world.nft("flush ruleset")
    for _ in range(200):
        await asyncio.sleep(0.02)
        if "table bridge kist" in world.run("nft", "list", "tables").stdout:
            break
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4
    assert world.run("nft", "-s", "list", "ruleset").stdout == before


async def test_a_start_and_an_end_right_after_a_flush(world: World, networks: Networks) -> None:
    """Before the server has noticed: the start puts the rules back, the end has nothing to take away."""
    first, second = container_id(), container_id()
    await networks.connect(first, "default", ports={"80/tcp": [{"HostPort": "8080"}]})
    world.nft("flush ruleset")
    await networks.release(first)
    world.nft("flush ruleset")
    endpoint = await networks.connect(second, "default", ports={"80/tcp": [{"HostPort": "8081"}]})
    world.serve(netns(endpoint), "tcp:80")
    assert world.ask(f"tcp:{HOST4}:8081", world.outside.netns_fd) == OUTSIDE4


async def test_a_host_that_forwards_nothing_is_told(world: World, networks: Networks) -> None:
    assert await networks.warnings() == []
    world.nft("table inet host { chain forward { type filter hook forward priority filter; policy drop; }; }")
    (warning,) = await networks.warnings()
    assert "inet host forward drops forwarded packets" in warning
    endpoint = await networks.connect(container_id(), "default")
    world.serve(world.outside.netns_fd, "tcp:80")
    assert world.ask(f"tcp:{OUTSIDE4}:80", netns(endpoint), timeout=1) == "silence"
    world.nft("table inet host { chain forward { iifname kist0 accept; ct state established accept; }; }")
    assert world.ask(f"tcp:{OUTSIDE4}:80", netns(endpoint)) == HOST4


async def test_the_rules_say_nothing_of_containers_that_are_gone(world: World, networks: Networks) -> None:
    before = world.run("nft", "-s", "list", "ruleset").stdout
    endpoint = await networks.connect(container_id(), "default", ports={"80/tcp": [{"HostPort": "8080"}]})
    assert world.run("nft", "-s", "list", "ruleset").stdout != before
    await networks.release(endpoint.container_id)
    assert world.run("nft", "-s", "list", "ruleset").stdout == before
