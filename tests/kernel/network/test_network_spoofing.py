"""What a container may put on its wire: each frame below is made by hand and sent from inside."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from kist.engine.network import Endpoint, Networks
from kist.engine.network.firewall import link_local
from support.network import World, container_id, eventually, netns

SEND = """
import socket, sys
one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
one.bind(("eth0", 0))
one.send(bytes.fromhex(sys.argv[1]))
"""
RECEIVE = """
import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 9))
print("ready", flush=True)
while True:
    print(one.recvfrom(99)[1][0], flush=True)
"""
# Whatever comes, for whom ever: the kind of each frame with the mark in it.
SNIFF = """
import socket, struct
one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
one.bind(("eth0", 3))
one.setsockopt(263, 1, struct.pack("iHH8s", socket.if_nametoindex("eth0"), 1, 0, b""))  # PACKET_MR_PROMISC
print("ready", flush=True)
while True:
    data = one.recv(9999)
    if b"boo!" in data:
        print(data[12:14].hex(), flush=True)
"""
ADVERTISED, ROUTER, REDIRECT = 136, 134, 137


def send(world: World, sender: Endpoint, frame: bytes) -> None:
    done = world.run(sys.executable, "-I", "-S", "-c", SEND, frame.hex(), on=netns(sender))
    assert done.returncode == 0, done.stderr


@contextmanager
def listening(who: Endpoint, program: str) -> Iterator[IO[str]]:
    """What a program in the container prints, once it is ready."""
    command = ["nsenter", f"--net=/proc/self/fd/{netns(who)}", sys.executable, "-I", "-S", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[netns(who)]) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process.stdout
        finally:
            process.kill()


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp4(sender: str, receiver: str) -> bytes:
    body = struct.pack("!HHHH", 9, 9, 12, 0) + b"boo!"
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0, socket.inet_aton(sender),
                       socket.inet_aton(receiver))
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def icmp6(kind: int, rest: bytes, sender: str, receiver: str) -> bytes:
    source, target = (socket.inet_pton(socket.AF_INET6, one) for one in (sender, receiver))
    body = struct.pack("!BBH", kind, 0, 0) + rest
    told = checksum(source + target + struct.pack("!II", len(body), 58) + body)
    body = body[:2] + told.to_bytes(2, "big") + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + target + body


def advertisement(target: str, lladdr: str, sender: str, receiver: str) -> bytes:
    """`target` is at `lladdr`: solicited, overriding what was known (RFC 4861, 4.4)."""
    rest = struct.pack("!I", 0x60000000) + socket.inet_pton(socket.AF_INET6, target) + b"\x02\x01" + mac(lladdr)
    return icmp6(ADVERTISED, rest, sender, receiver)


@pytest.mark.parametrize("tag", [b"", b"\x81\x00\x00\x00", b"\x88\xa8\x00\x00", b"\x81\x00\x00\x00\x81\x00\x00\x00"])
async def test_a_tag_hides_no_address(world: World, networks: Networks, tag: bytes) -> None:
    """A frame of VLAN 0 is taken for one without a tag by whoever gets it."""
    attacker, victim, other = [await networks.connect(container_id(), "default") for _ in range(3)]
    with listening(other, RECEIVE) as heard:
        to = mac(other.mac) + mac(attacker.mac)
        send(world, attacker, to + tag + b"\x08\x00" + udp4(victim.ip, other.ip))
        send(world, attacker, to + b"\x08\x00" + udp4(attacker.ip, other.ip))
        assert heard.readline() == f"{attacker.ip}\n"


@pytest.mark.parametrize("bridged", ["0", "1"])
async def test_containers_that_are_apart_hear_nothing_of_each_other(
    world: World, networks: Networks, bridged: str,
) -> None:
    """What the bridge floods (frames to all, or to a MAC address that nobody has) could be picked up by a neighbour."""
    for kind in ("iptables", "ip6tables"):
        world.sysctl(f"bridge/bridge-nf-call-{kind}", bridged)
    await networks.create({"Name": "quiet", "EnableIPv6": True,
                           "Options": {"com.docker.network.bridge.enable_icc": "false"}})
    one, other = [await networks.connect(container_id(), "quiet") for _ in range(2)]
    with listening(other, SNIFF) as heard:
        for to in (other.mac, "02:99:99:99:99:99", "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "01:00:5e:00:00:01"):
            head = mac(to) + mac(one.mac)
            send(world, one, head + b"\x08\x00" + udp4(one.ip, other.ip))
            for sender in (one.first.ip6, "::"):
                send(world, one, head + b"\x86\xdd" + icmp6(128, b"\0\0\0\0boo!", sender, other.first.ip6))
            send(world, one, head + b"\x88\xb5" + b"boo!" + bytes(50))
        asked = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + mac(one.mac) + socket.inet_aton(one.ip) + bytes(6)
        send(world, one, b"\xff" * 6 + mac(one.mac) + b"\x08\x06" + asked + socket.inet_aton(other.ip) + b"boo!")
        assert heard.readline() == "0806\n"


async def three(networks: Networks) -> list[Endpoint]:
    await networks.create({"Name": "six", "EnableIPv6": True})
    return [await networks.connect(container_id(), "six") for _ in range(3)]


async def test_a_container_advertises_its_own_addresses_only(world: World, networks: Networks) -> None:
    """Neighbour discovery is ARP's successor: an advertisement for another's address would take its packets over."""
    attacker, victim, other = await three(networks)

    def known() -> str:
        return world.run("ip", "-6", "neigh", on=netns(other)).stdout

    ours, theirs, gateway = attacker.first.ip6, victim.first.ip6, other.first.gateway6
    for one in (theirs, ours, gateway):
        assert world.run("ping", "-6", "-c1", "-W3", one, on=netns(other)).returncode == 0
    assert victim.mac in known()
    to = mac(other.mac) + mac(attacker.mac) + b"\x86\xdd"
    for target, sender in ((theirs, ours), (theirs, link_local(attacker.mac)), (gateway, ours),
                           (link_local(victim.mac), link_local(victim.mac)), (theirs, theirs)):
        send(world, attacker, to + advertisement(target, attacker.mac, sender, other.first.ip6))
    # What it may say arrives, and after the others.
    world.run("ip", "-6", "neigh", "replace", ours, "lladdr", "02:00:00:00:00:01", "nud", "stale", "dev", "eth0",
              on=netns(other))
    send(world, attacker, to + advertisement(ours, attacker.mac, ours, other.first.ip6))
    assert eventually(lambda: f"{ours} dev eth0 lladdr {attacker.mac}" in known())
    assert f"{theirs} dev eth0 lladdr {victim.mac}" in known()
    assert f"{gateway} dev eth0 lladdr {attacker.mac}" not in known()
    assert link_local(victim.mac) not in known()


async def test_a_container_is_no_router(world: World, networks: Networks) -> None:
    """Neither by advertisement nor by redirect, and not to one that would listen."""
    attacker, _, other = await three(networks)
    for name in ("accept_ra", "accept_redirects"):
        world.run("sysctl", "-qw", f"net.ipv6.conf.eth0.{name}=2", on=netns(other))
    before = world.run("ip", "-6", "route", on=netns(other)).stdout
    to = mac(other.mac) + mac(attacker.mac) + b"\x86\xdd"
    own = link_local(attacker.mac)
    send(world, attacker, to + icmp6(ROUTER, struct.pack("!BBHII", 64, 0, 1800, 0, 0), own, "ff02::1"))
    elsewhere = socket.inet_pton(socket.AF_INET6, "2001:db8:1::2")
    send(world, attacker, to + icmp6(REDIRECT, bytes(4) + socket.inet_pton(socket.AF_INET6, own) + elsewhere, own,
                                     other.first.ip6))
    assert world.run("ping", "-6", "-c1", "-W3", other.first.ip6, on=netns(attacker)).returncode == 0
    assert world.run("ip", "-6", "route", on=netns(other)).stdout == before
    assert own not in world.run("ip", "-6", "neigh", on=netns(other)).stdout


async def test_link_local_addresses_that_were_asked_for_are_its_own(world: World, networks: Networks) -> None:
    await networks.create({"Name": "six", "EnableIPv6": True})
    first, second = [await networks.connect(container_id(), "six", endpoints={"six": {"IPAMConfig": {
        "LinkLocalIPs": [f"169.254.7.{number}", f"fe80::7:{number}"]}}}) for number in (1, 2)]
    for number in (1, 2):
        here, there = (first, second) if number == 1 else (second, first)
        for address in (f"169.254.7.{3 - number}", f"fe80::7:{3 - number}%eth0", f"{link_local(there.mac)}%eth0"):
            done = world.run("ping", "-c1", "-W3", address, on=netns(here))
            assert done.returncode == 0, (address, done.stdout)
