"""Published ports over a real kernel, from everywhere, and with the host's own firewall in the way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from kist.engine.network import Endpoint, Networks
from kist.errors import EngineFailure
from support.network import HOST4, HOST6, OUTSIDE4, OUTSIDE6, World, container_id, eventually, netns


async def web(world: World, networks: Networks) -> Endpoint:
    """A container with servers on tcp 80 and udp 53, published at 8080 and 5353."""
    ports = {"80/tcp": [{"HostPort": "8080"}], "53/udp": [{"HostPort": "5353"}]}
    endpoint = await networks.connect(container_id(), "default", name="web", ports=ports)
    world.serve(netns(endpoint), "tcp:80", "udp:53")
    return endpoint


async def test_from_another_machine_with_the_callers_address(world: World, networks: Networks) -> None:
    await web(world, networks)
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4
    assert world.ask(f"udp:{HOST4}:5353", world.outside.netns_fd) == OUTSIDE4
    done = world.run("curl", "-s", "--http0.9", "-m5", f"http://{HOST4}:8080/", on=world.outside.netns_fd)
    assert done.stdout == OUTSIDE4


async def test_from_the_host_itself(world: World, networks: Networks) -> None:
    endpoint = await web(world, networks)
    assert world.ask(f"tcp:{HOST4}:8080") == HOST4
    assert world.ask("tcp:127.0.0.1:8080") == endpoint.gateway
    assert world.ask("udp:127.0.0.1:5353") == endpoint.gateway
    assert world.ask("tcp:127.0.0.2:8080") == endpoint.gateway


@pytest.mark.parametrize("bridge_filter", ["0", "1"])
async def test_from_containers(world: World, networks: Networks, bridge_filter: str) -> None:
    """Also from the publishing container itself, and whether or not bridged frames pass the packet filter
    (then the caller's address is kept on the same bridge too)."""
    for family in ("iptables", "ip6tables"):
        world.sysctl(f"bridge/bridge-nf-call-{family}", bridge_filter)
    endpoint = await web(world, networks)
    other = await networks.connect(container_id(), "default", name="other")
    await networks.create({"Name": "far"})
    far = await networks.connect(container_id(), "far", name="far")
    for place in (HOST4, endpoint.gateway):
        assert world.ask(f"tcp:{place}:8080", netns(other)) in (endpoint.gateway, other.ip)
        assert world.ask(f"udp:{place}:5353", netns(other)) in (endpoint.gateway, other.ip)
        assert world.ask(f"tcp:{place}:8080", netns(endpoint)) == endpoint.gateway
        assert world.ask(f"tcp:{place}:8080", netns(far)) == far.ip


async def test_only_where_it_was_published(world: World, networks: Networks) -> None:
    endpoint = await networks.connect(container_id(), "default", ports={"80/tcp": [
        {"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": HOST4, "HostPort": "8081"}]})
    world.serve(netns(endpoint), "tcp:80")
    assert world.ask("tcp:127.0.0.1:8080") == endpoint.gateway
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == "refused"
    assert world.ask(f"tcp:{HOST4}:8081", world.outside.netns_fd) == OUTSIDE4
    assert world.ask("tcp:127.0.0.1:8081") == "refused"


async def test_ephemeral_port_and_port_map(world: World, networks: Networks) -> None:
    endpoint = await networks.connect(container_id(), "default", exposed=["80/tcp", "81/tcp"],
                                      ports={"80/tcp": [{"HostPort": ""}]})
    world.serve(netns(endpoint), "tcp:80")
    number = endpoint.ports[0].host_port
    assert endpoint.port_map() == {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(number)}], "81/tcp": None}
    assert world.ask(f"tcp:{HOST4}:{number}", world.outside.netns_fd) == OUTSIDE4


async def test_a_port_that_is_taken(world: World, networks: Networks) -> None:
    await web(world, networks)
    before = networks.named("bridge")
    words = (r"^driver failed programming external connectivity on endpoint two \([0-9a-f]{64}\): "
             r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated$")
    with pytest.raises(EngineFailure, match=words):
        await networks.connect(container_id(), "default", name="two", ports={"80/tcp": [{"HostPort": "8080"}]})
    assert len((await networks.inspect("bridge"))["Containers"]) == 1
    assert before is networks.named("bridge")
    world.serve(None, "tcp:9090")
    with pytest.raises(EngineFailure, match=r"failed to bind host port for 0\.0\.0\.0:9090/tcp: address already"):
        await networks.connect(container_id(), "default", ports={"80/tcp": [{"HostPort": "9090"}]})
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4


async def test_sctp_is_translated_too(world: World, networks: Networks) -> None:
    await networks.connect(container_id(), "default", ports={"36412/sctp": [{"HostPort": "36412"}]})
    assert "sctp . 36412 : 10.88.0.2 . 36412" in world.run("nft", "list", "map", "ip", "kist", "port").stdout


async def test_release_closes_the_port(world: World, networks: Networks) -> None:
    endpoint = await web(world, networks)
    await networks.release(endpoint.container_id)
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == "refused"
    assert world.ask("tcp:127.0.0.1:8080") == "refused"
    again = await web(world, networks)
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4
    assert again.ip != endpoint.ip


DROPS = {
    "a rule": "table inet host { chain input { type filter hook input priority filter; tcp dport 8080 drop; }; }",
    "a policy": "table inet host { chain input { type filter hook input priority filter; policy drop; "
                "ct state established,related accept; tcp dport 22 accept; }; }",
    "a late chain": "table ip host { chain input { type filter hook input priority 100; tcp dport 8080 drop; }; }",
    "a forward rule": "table inet host { chain forward { type filter hook forward priority filter; "
                      "meta l4proto tcp ct original proto-dst 8080 drop; }; }",
}


@pytest.mark.parametrize("rule", DROPS)
async def test_the_hosts_firewall_is_respected(world: World, networks: Networks, rule: str) -> None:
    await web(world, networks)
    world.nft(DROPS[rule])
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd, timeout=1) == "silence"
    world.nft("delete table inet host" if "inet" in DROPS[rule] else "delete table ip host")
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4


async def test_the_hosts_firewall_may_let_it_through(world: World, networks: Networks) -> None:
    await web(world, networks)
    world.nft("table inet host { chain input { type filter hook input priority filter; policy drop; "
              "ct state established,related accept; tcp dport 8080 accept; }; }")
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4
    assert world.ask(f"udp:{HOST4}:5353", world.outside.netns_fd, timeout=1) == "silence"


@pytest.mark.parametrize("mode", ["1", "2"])
async def test_reverse_path_filter_of_the_host(world: World, networks: Networks, mode: str) -> None:
    """ufw and some distributions turn it on for all devices."""
    await web(world, networks)
    world.sysctl("ipv4/conf/all/rp_filter", mode)
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4


async def test_large_first_datagram(world: World, networks: Networks) -> None:
    """The first packet of a flow makes the detour also when it came in fragments."""
    await web(world, networks)
    program = (f"import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); "
               f"s.sendto(bytes(20000), ('{HOST4}', 5353)); print(s.recv(100).decode())")
    assert world.run(sys.executable, "-c", program, on=world.outside.netns_fd).stdout.strip() == OUTSIDE4


STEADY = """
import socket, sys, time
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 4321))
one.settimeout(0.1)
while True:
    time.sleep(0.02)
    try:
        one.sendto(b"x", (sys.argv[1], 5353))
        print(one.recv(100).decode(), flush=True)
    except OSError:
        print("-", flush=True)
"""


async def test_a_steady_udp_flow_follows_the_port(world: World, networks: Networks) -> None:
    """One that began before the port was published, and goes on when another container has it."""
    command = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{world.outside.netns_fd}", sys.executable, "-c", STEADY, HOST4]
    flow = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert flow.stdout is not None
        assert flow.stdout.readline() == "-\n"
        first = await web(world, networks)
        assert OUTSIDE4 in (flow.stdout.readline().strip() for _ in range(20))
        await networks.release(first.container_id)
        os.kill(world.servers[-1].pid, signal.SIGKILL)
        assert "-" in (flow.stdout.readline().strip() for _ in range(200))
        await web(world, networks)
        assert OUTSIDE4 in (flow.stdout.readline().strip() for _ in range(20))
    finally:
        flow.kill()
        flow.wait()
        if flow.stdout is not None:
            flow.stdout.close()


async def test_without_respect_ports_are_open_at_once(world: World, make_networks: Callable[..., Networks]) -> None:
    networks = make_networks(respect_host_firewall=False)
    await networks.open()
    await networks.ready()
    await web(world, networks)
    world.nft(DROPS["a rule"])
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4


@pytest.mark.parametrize("bridge_filter", ["0", "1"])
async def test_ipv6_loopback(world: World, make_networks: Callable[..., Networks], bridge_filter: str) -> None:
    """It works, or is refused at once so that the caller tries 127.0.0.1: it never hangs."""
    world.sysctl("bridge/bridge-nf-call-ip6tables", bridge_filter)
    networks = make_networks()
    await networks.open()
    await networks.ready()
    await networks.create({"Name": "six", "EnableIPv6": True})
    endpoint = await networks.connect(container_id(), "six", ports={"80/tcp": [{"HostPort": "8080"}]})
    world.serve(netns(endpoint), "tcp:80")
    assert world.ask("tcp:[::1]:8080") == ("refused" if bridge_filter == "1" else endpoint.attachments[0].gateway6)
    assert world.ask("tcp:127.0.0.1:8080") == endpoint.gateway
    four = await networks.connect(container_id(), "default", ports={"80/tcp": [{"HostPort": "8081"}]})
    world.serve(netns(four), "tcp:80")
    assert world.ask("tcp:[::1]:8081") == "refused"


@pytest.mark.parametrize("noticed", ["by a look now and then", "by the next port"])
async def test_ipv6_loopback_follows_the_switch(
    world: World, make_networks: Callable[..., Networks], noticed: str,
) -> None:
    """What loads br_netfilter (Docker does) switches it on, at any time."""
    world.sysctl("bridge/bridge-nf-call-ip6tables", "0")
    networks = make_networks(look_every=0.05 if noticed.startswith("by a look") else 3600)
    await networks.open()
    await networks.ready()
    await networks.create({"Name": "six", "EnableIPv6": True})
    endpoint = await networks.connect(container_id(), "six", ports={"80/tcp": [{"HostPort": "8080"}]})
    world.serve(netns(endpoint), "tcp:80")
    gateway = endpoint.attachments[0].gateway6
    for number, (value, told) in enumerate((("1", "refused"), ("0", gateway))):
        world.sysctl("bridge/bridge-nf-call-ip6tables", value)
        if noticed == "by the next port":
            await networks.connect(container_id(), "six", ports={"80/tcp": [{"HostPort": str(9000 + number)}]})
        assert await asyncio.to_thread(eventually, partial(answers, world, "tcp:[::1]:8080", told))


def answers(world: World, where: str, told: str) -> bool:
    return world.ask(where, timeout=1) == told


async def test_ipv6(world: World, networks: Networks) -> None:
    await networks.create({"Name": "six", "EnableIPv6": True})
    endpoint = await networks.connect(container_id(), "six", ports={"80/tcp": [{"HostPort": "8080"}]})
    world.serve(netns(endpoint), "tcp:80")
    assert world.ask(f"tcp:[{HOST6}]:8080", world.outside.netns_fd) == OUTSIDE6
    assert world.ask(f"tcp:[{HOST6}]:8080") == HOST6
    assert world.ask(f"tcp:[{endpoint.attachments[0].gateway6}]:8080") == endpoint.attachments[0].gateway6
    world.nft(DROPS["a rule"])
    assert world.ask(f"tcp:[{HOST6}]:8080", world.outside.netns_fd, timeout=1) == "silence"
