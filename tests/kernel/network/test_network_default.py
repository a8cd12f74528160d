"""The default network over a real kernel: containers talk to each other, to the host and to the outside."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from kist.engine.network import Networks
from kist.engine.network.sandbox import NamespaceThread
from kist.engine.network.sysctl import RENEW, Sysctls
from kist.errors import Conflict, EngineFailure, InvalidParameter
from kist.linux.netlink import Netlink, request
from support.network import HOST4, OUTSIDE4, MakeNetworks, World, container_id, eventually, netns


async def test_an_address_a_route_and_a_loopback(world: World, networks: Networks) -> None:
    endpoint = await networks.connect(container_id(), "default", name="a")
    shown = world.run("ip", "-br", "addr", on=netns(endpoint)).stdout
    assert "127.0.0.1/8" in shown
    assert "eth0" in shown
    assert f"{endpoint.ip}/16" in shown
    assert "fe80" not in shown  # no IPv6 unless the network has it
    assert f"default via {endpoint.gateway} dev eth0" in world.run("ip", "route", on=netns(endpoint)).stdout
    assert endpoint.mac in world.run("ip", "link", "show", "eth0", on=netns(endpoint)).stdout
    assert endpoint.name == "bridge"
    assert endpoint.network_id == networks.named("bridge").id


async def test_containers_reach_each_other_the_host_and_the_outside(world: World, networks: Networks) -> None:
    one = await networks.connect(container_id(), "default", name="one")
    two = await networks.connect(container_id(), "default", name="two")
    world.serve(netns(two), "tcp:80", "udp:53")
    world.serve(world.outside.netns_fd, "tcp:80", "udp:53")
    world.serve(None, "tcp:81")
    for kind in ("tcp:{}:80", "udp:{}:53"):
        assert world.ask(kind.format(two.ip), netns(one)) == one.ip  # as it is, no translation
        assert world.ask(kind.format(OUTSIDE4), netns(one)) == HOST4  # masqueraded
    assert world.ask(f"tcp:{two.ip}:80") == two.gateway
    assert world.ask(f"tcp:{one.gateway}:81", netns(one)) == one.ip
    assert world.ask(f"tcp:{HOST4}:81", netns(one)) == one.ip


async def test_real_programs_ping_and_curl(world: World, networks: Networks) -> None:
    one = await networks.connect(container_id(), "default", name="one")
    two = await networks.connect(container_id(), "default", name="two")
    for address in (two.ip, one.gateway, OUTSIDE4):
        assert world.run("ping", "-c1", "-W5", address, on=netns(one)).returncode == 0
    assert world.run("ping", "-c1", "-W5", one.ip).returncode == 0
    world.serve(netns(two), "tcp:80")
    assert world.run("curl", "-s", "--http0.9", "-m5", f"http://{two.ip}/", on=netns(one)).stdout == one.ip


async def test_large_packets_inside_and_the_hosts_mtu_outside(world: World, networks: Networks) -> None:
    one = await networks.connect(container_id(), "default")
    two = await networks.connect(container_id(), "default")
    for place in (two.ip, one.gateway):
        done = world.run("ping", "-c1", "-W5", "-M", "do", "-s", "30000", place, on=netns(one))
        assert done.returncode == 0, done.stdout
    assert world.run("ping", "-c1", "-W5", "-M", "do", "-s", "1472", OUTSIDE4, on=netns(one)).returncode == 0
    assert "mtu" in world.run("ping", "-c1", "-W1", "-M", "do", "-s", "1473", OUTSIDE4, on=netns(one)).stderr
    await networks.create({"Name": "small", "Options": {"com.docker.network.driver.mtu": "1400"}})
    small = await networks.connect(container_id(), "small")
    assert "mtu 1400" in world.run("ip", "link", "show", "eth0", on=netns(small)).stdout


async def test_first_packet_right_after_connect(world: World, networks: Networks) -> None:
    """Also a sandbox that is made on demand must not lose the first packets (bridge port without a carrier)."""
    await networks.close()
    cold = Networks(data=str(world.tmp_path / "cold"), run=str(world.tmp_path / "cold"), warm=(0, 0))
    await cold.open()
    await cold.ready()
    endpoint = await cold.connect(container_id(), "default")
    done = world.run("ping", "-c1", "-W5", endpoint.gateway, on=netns(endpoint))
    await cold.close(remove=True)
    assert done.returncode == 0


async def test_an_unpublished_port_is_closed_to_the_outside(world: World, networks: Networks) -> None:
    endpoint = await networks.connect(container_id(), "default")
    world.serve(netns(endpoint), "tcp:80")
    assert world.run("ip", "route", "add", "10.88.0.0/16", "via", HOST4, on=world.outside.netns_fd).returncode == 0
    assert world.ask(f"tcp:{endpoint.ip}:80", world.outside.netns_fd, timeout=1) == "silence"
    assert world.ask(f"tcp:{endpoint.ip}:80") == endpoint.gateway


async def test_the_hosts_loopback_is_out_of_reach(world: World, networks: Networks) -> None:
    endpoint = await networks.connect(container_id(), "default")
    world.serve(None, "tcp:81")
    assert world.ask("tcp:127.0.0.1:81") == "127.0.0.1"
    assert world.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo", on=netns(endpoint)).returncode == 0
    world.run("ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local", on=netns(endpoint))
    world.run("ip", "route", "add", "127.0.0.1", "via", endpoint.gateway, "dev", "eth0", on=netns(endpoint))
    world.run("sysctl", "-w", "net.ipv4.conf.eth0.route_localnet=1", on=netns(endpoint))
    assert world.ask("tcp:127.0.0.1:81", netns(endpoint), timeout=1) != endpoint.ip


async def test_none_has_a_loopback_only_and_host_is_the_hosts(world: World, networks: Networks) -> None:
    none = await networks.connect(container_id(), "none")
    shown = world.run("ip", "-br", "link", on=netns(none)).stdout.split()
    assert "lo" in shown
    assert not any(word.startswith("eth") for word in shown)
    assert world.run("ping", "-c1", "-W5", "127.0.0.1", on=netns(none)).returncode == 0
    host = await networks.connect(container_id(), "host")
    assert host.netns_fd is None
    assert (none.ip, host.ip) == ("", "")


async def test_container_mode_shares_the_namespace(networks: Networks) -> None:
    first = await networks.connect(container_id(), "default")
    second = await networks.connect(container_id(), f"container:{first.container_id}")
    assert os.stat(netns(first)).st_ino == os.stat(netns(second)).st_ino
    assert netns(first) != netns(second)
    with pytest.raises(Conflict, match="cannot join network of a non running container"):
        await networks.connect(container_id(), f"container:{container_id()}")


async def test_who_shares_a_network_loses_it_with_its_owner(world: World, networks: Networks) -> None:
    """The addresses will be others': whoever is left in the namespace, and calls the device as he likes, has none."""
    await networks.create({"Name": "front"})
    first = await networks.connect(container_id(), "front", endpoints={"front": {}, "bridge": {}})
    second = await networks.connect(container_id(), f"container:{first.container_id}")
    third = await networks.connect(container_id(), f"container:{second.container_id}")
    world.run("ip", "link", "set", "eth0", "down", on=netns(third))
    world.run("ip", "link", "set", "eth0", "name", "mine", "up", on=netns(third))
    ports = [one.host_interface for one in first.attachments]
    await networks.release(first.container_id)
    shown = world.run("ip", "-br", "link", on=netns(third)).stdout.split()
    assert not {"mine", "eth0", "eth1"} & {word.partition("@")[0] for word in shown}
    assert not set(ports) & {word.partition("@")[0] for word in world.run("ip", "-br", "link").stdout.split()}
    for one in (second, third):
        await networks.release(one.container_id)


async def test_a_disconnected_network_is_gone_by_whatever_name(world: World, networks: Networks) -> None:
    await networks.create({"Name": "front"})
    one = await networks.connect(container_id(), "default")
    await networks.attach(one.container_id, "front", {})
    for words in (("eth1", "down"), ("eth1", "name", "mine", "up")):
        assert world.run("ip", "link", "set", *words, on=netns(one)).returncode == 0
    await networks.detach(one.container_id, "front")
    assert "mine" not in world.run("ip", "-br", "link", on=netns(one)).stdout


async def test_released_addresses_rest_and_the_devices_go(networks: Networks) -> None:
    endpoint = await networks.connect(container_id(), "default")
    veth = endpoint.first.host_interface
    await networks.release(endpoint.container_id)
    await networks.release(endpoint.container_id)
    with Netlink() as netlink:
        assert eventually(lambda: veth not in {link.name for link in netlink.links()})
    again = await networks.connect(container_id(), "default")
    assert again.ip != endpoint.ip


async def test_many_starts_at_once_get_different_addresses(world: World, networks: Networks) -> None:
    endpoints = await asyncio.gather(*(networks.connect(container_id(), "default") for _ in range(20)))
    assert len({endpoint.ip for endpoint in endpoints}) == 20
    assert len({os.stat(netns(endpoint)).st_ino for endpoint in endpoints}) == 20
    done = world.run("ping", "-c1", "-W5", endpoints[-1].ip, on=netns(endpoints[0]))
    assert done.returncode == 0


async def test_a_new_server_finds_everything(world: World, make_networks: MakeNetworks) -> None:
    old = make_networks()
    await old.open()
    await old.ready()
    endpoint = await old.connect(container_id(), "default", name="web", ports={"80/tcp": [{"HostPort": "8080"}]})
    init = subprocess.Popen(["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns(endpoint)}", "sleep", "60"])
    try:
        world.serve(netns(endpoint), "tcp:80")
        record, inode = endpoint.record(), os.stat(netns(endpoint)).st_ino
        assert eventually(lambda: os.stat(f"/proc/{init.pid}/ns/net").st_ino == inode)
        await old.close()  # as after a SIGKILL: descriptors closed, everything else left
        assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == "198.51.100.2"
        new = make_networks()
        await new.open()
        assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == "198.51.100.2"
        adopted = await new.adopt(endpoint.container_id, record, init.pid)
        await new.ready()
        assert adopted.record() == record
        assert new.named("bridge").id == old.named("bridge").id
        assert os.stat(netns(adopted)).st_ino == inode
        assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == "198.51.100.2"
        other = await new.connect(container_id(), "default")
        assert other.ip != adopted.ip
        await new.release(endpoint.container_id)
        assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd, timeout=1) == "refused"
    finally:
        init.kill()
        init.wait()


def devices(world: World) -> list[str]:
    """Their names; `ip` shows a state, too, which follows later."""
    return [line.split()[0] for line in world.run("ip", "-br", "link").stdout.splitlines()]


async def test_closing_for_good_leaves_nothing(world: World, make_networks: MakeNetworks) -> None:
    world.sysctl("ipv4/ip_forward", "0")
    before = devices(world)
    networks = make_networks()
    await networks.open()
    await networks.ready()
    await networks.create({"Name": "other"})
    await networks.connect(container_id(), "default", ports={"80/tcp": [{"HostPort": "8080"}]})
    assert world.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "1\n"
    await networks.close(remove=True)
    assert eventually(lambda: devices(world) == before), world.run("ip", "-d", "link").stdout
    assert world.run("nft", "list", "tables").stdout == ""
    assert world.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "0\n"
    assert not (world.tmp_path / "run" / "network.json").exists()


async def test_forwarding_that_was_on_stays_on(world: World, make_networks: MakeNetworks) -> None:
    world.sysctl("ipv4/ip_forward", "1")
    networks = make_networks()
    await networks.open()
    await networks.close(remove=True)
    assert world.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "1\n"


async def test_a_subnet_that_the_host_uses_is_left_alone(world: World, make_networks: MakeNetworks) -> None:
    assert world.run("ip", "route", "add", "10.88.7.0/24", "dev", "eth0").returncode == 0
    networks = make_networks()
    await networks.open()
    await networks.ready()
    endpoint = await networks.connect(container_id(), "default")
    assert endpoint.ip == "10.89.0.2"


async def test_servers_side_by_side(world: World, make_networks: MakeNetworks, networks: Networks) -> None:
    second = Networks(data=str(world.tmp_path / "d2"), run=str(world.tmp_path / "r2"), bridge="kist1", table="kist1")
    await second.open()
    await second.ready()
    one = await networks.connect(container_id(), "default")
    two = await second.connect(container_id(), "default")
    assert world.run("ping", "-c1", "-W5", two.gateway, on=netns(two)).returncode == 0
    assert world.run("ping", "-c1", "-W1", two.ip, on=netns(one)).returncode != 0
    await second.close(remove=True)
    assert world.run("ping", "-c1", "-W5", one.gateway, on=netns(one)).returncode == 0


async def test_the_rate_of_an_endpoint(world: World, networks: Networks) -> None:
    asked = {"bridge": {"DriverOpts": {"kist.rate": "8mbit"}}}
    slow = await networks.connect(container_id(), "default", endpoints=asked)
    free = await networks.connect(container_id(), "default")
    assert "rate 8Mbit" in world.run("tc", "qdisc", "show", "dev", "eth0", on=netns(slow)).stdout
    assert "rate 8Mbit" in world.run("tc", "qdisc", "show", "dev", slow.first.host_interface).stdout
    assert "rate" not in world.run("tc", "qdisc", "show", "dev", free.first.host_interface).stdout
    world.serve(netns(slow), "tcp:80")
    assert world.ask(f"tcp:{slow.ip}:80", netns(free)) == free.ip
    with pytest.raises(InvalidParameter, match="invalid rate"):
        await networks.create({"Name": "odd", "Options": {"kist.rate": "fast"}})


async def test_a_bridge_that_is_full(world: World, networks: Networks) -> None:
    made = await networks.create({"Name": "full", "IPAM": {"Config": [{"Subnet": "10.99.0.0/20"}]}})
    crowd = NamespaceThread().new()
    with Netlink() as netlink:
        bridge = netlink.link(f"kb{made['Id'][:12]}").index
        netlink.run(*(request.veth(f"kv{number}", peer_name=f"eth{number}", peer_netns=crowd.netns_fd, master=bridge)
                      for number in range(1023)))
        with pytest.raises(EngineFailure, match="all the ports that the kernel gives one"):
            await networks.connect(container_id(), "full")
        assert (await networks.inspect("full"))["Containers"] == {}
        crowd.close()  # takes all of them along at once; one by one they would take half a minute
        assert eventually(lambda: not any(link.master == bridge for link in netlink.links()), 30)


async def test_only_the_bridge_has_ipv6_addresses(networks: Networks, world: World) -> None:
    """A port with an address of its own would cost each later start more, and tell all containers that it came."""
    endpoint = await networks.connect(container_id(), "default")
    name = endpoint.first.host_interface
    assert Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text() == "1\n"
    assert "inet6" not in world.run("ip", "address", "show", name).stdout


async def test_any_user_may_serve_port_80_and_ping(networks: Networks, world: World) -> None:
    for mode in ("default", "none"):
        on = netns(await networks.connect(container_id(), mode))
        assert world.run("cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", on=on).stdout == "0\n"
        assert world.run("cat", "/proc/sys/net/ipv4/ping_group_range", on=on).stdout == "0\t2147483647\n"


def test_switches_are_found_after_many_namespaces(world: World) -> None:
    """Each is looked up in a procfs of ours that is made anew now and then."""
    sysctls = Sysctls()
    before = len(os.listdir("/proc/self/fd"))
    expected = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    assert {sysctls.read("ipv4/ip_forward") for _ in range(2 * RENEW + 1)} == {expected}
    assert sysctls.read("ipv4/conf/nothing/forwarding") == ""
    with pytest.raises(OSError, match="/proc/sys/net/ipv4/nothing"):
        sysctls.write("ipv4/nothing", "1")
    assert len(os.listdir("/proc/self/fd")) == before
    sysctls.close()
