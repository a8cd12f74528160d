"""IPv6 on the default network, and Docker's options of bridge networks: gateway modes, addresses, names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kist.engine.network import Endpoint, Networks
from kist.engine.network.firewall import link_local
from kist.errors import Forbidden, InvalidParameter
from kist.linux.netlink import Netlink, request
from support.network import HOST4, HOST6, OUTSIDE4, OUTSIDE6, World, container_id, netns

BRIDGE = "com.docker.network.bridge."


async def network(networks: Networks, name: str = "front", options: dict[str, str] | None = None, *,
                  ipv6: bool = False) -> None:
    await networks.create({"Name": name, "EnableIPv6": ipv6, "Options": {
        key if key.startswith("com.") else BRIDGE + key: value for key, value in (options or {}).items()}})


async def server(networks: Networks, world: World, *on: str, ports: dict[str, Any] | None = None,
                 settings: dict[str, Any] | None = None) -> Endpoint:
    made = await networks.connect(container_id(), on[0], endpoints={one: settings or {} for one in on}, ports=ports)
    world.serve(netns(made), "tcp:80", "udp:80", "tcp:81")
    return made


def route(world: World, one: Endpoint) -> None:
    """The other machine knows the way to the container's own addresses."""
    for address, by in ((one.ip, HOST4), (one.attachments[0].ip6, HOST6)):
        if address:
            world.run("ip", "route", "replace", address, "via", by, on=world.outside.netns_fd)


# -- IPv6 on the default network ------------------------------------------------------------------------------


async def test_the_default_network_with_ipv6(world: World, make_networks: Callable[..., Networks]) -> None:
    world.sysctl("bridge/bridge-nf-call-ip6tables", "0")
    networks = make_networks(ipv6=True, subnet6="fd4b:9c2d:1::/64")
    await networks.open()
    await networks.ready()
    shown = await networks.inspect("bridge")
    assert shown["EnableIPv6"] is True
    assert shown["IPAM"]["Config"][1] == {"Subnet": "fd4b:9c2d:1::/64", "Gateway": "fd4b:9c2d:1::1"}
    one = await server(networks, world, "bridge", ports={"80/tcp": [{"HostPort": "8080"}]})
    two = await networks.connect(container_id(), "default")
    ip6 = one.attachments[0].ip6
    assert ip6.startswith("fd4b:9c2d:1::")
    assert link_local(one.mac) in world.run("ip", "-6", "address", on=netns(one)).stdout
    assert world.ask(f"tcp:[{ip6}]:80", netns(two)) == two.attachments[0].ip6
    world.serve(world.outside.netns_fd, "tcp:99")
    assert world.ask(f"tcp:[{OUTSIDE6}]:99", netns(one)) == HOST6  # NAT66
    assert world.ask(f"tcp:[{HOST6}]:8080", world.outside.netns_fd) == OUTSIDE6
    assert world.ask("tcp:[::1]:8080") == "fd4b:9c2d:1::1"
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4
    assert one.port_map()["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]


async def test_ipv6_may_come_and_go_between_servers(world: World, make_networks: Callable[..., Networks]) -> None:
    for ipv6 in (False, True, False):
        networks = make_networks(ipv6=ipv6)
        await networks.open()
        await networks.ready()
        one = await server(networks, world, "bridge")
        assert bool(one.attachments[0].ip6) is ipv6
        assert (await networks.inspect("bridge"))["EnableIPv6"] is ipv6
        await networks.release(one.container_id)
        await networks.close()


async def test_another_networks_subnet_is_refused(make_networks: Callable[..., Networks]) -> None:
    first = make_networks()
    await first.open()
    await first.create({"Name": "six", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd01::/64"}]}})
    await first.close()
    second = make_networks(ipv6=True, subnet6="fd01::/48")
    with pytest.raises(InvalidParameter, match="subnet6: fd01::/48 is another network's"):
        await second.open()


async def test_a_host_that_listens_to_routers_goes_on_to(world: World, networks: Networks) -> None:
    setting = Path("/proc/sys/net/ipv6/conf/eth0/accept_ra")
    setting.write_text("1")
    await network(networks, ipv6=True)
    assert Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text() == "1\n"
    assert setting.read_text() == "2\n"
    await networks.close(remove=True)
    assert setting.read_text() == "1\n"


# -- gateway modes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
async def test_routed(world: World, networks: Networks, version: int) -> None:
    await network(networks, options={f"gateway_mode_ipv{version}": "routed"}, ipv6=True)
    one = await server(networks, world, "front", ports={"80/tcp": [{"HostPort": "8080"}], "80/udp": []})
    route(world, one)
    outside = world.outside.netns_fd
    own = {4: one.ip, 6: f"[{one.attachments[0].ip6}]"}
    host, caller = {4: HOST4, 6: f"[{HOST6}]"}, {4: OUTSIDE4, 6: OUTSIDE6}
    other = 10 - version
    assert world.ask(f"tcp:{own[version]}:80", outside) == caller[version]
    assert world.ask(f"udp:{own[version]}:80", outside) == caller[version]
    assert world.ask(f"tcp:{own[version]}:81", outside, timeout=1) == "silence"  # not published
    assert world.ask(f"tcp:{host[version]}:8080", outside, timeout=1) == "refused"  # no port of the host
    assert world.ask(f"tcp:{host[other]}:8080", outside) == caller[other]  # the other family is as ever
    assert world.ask(f"tcp:{own[other]}:80", outside, timeout=1) == "silence"
    assert world.run("ping", "-c", "1", "-W", "3", own[version].strip("[]"), on=outside).returncode == 0
    assert world.run("ping", "-c", "1", "-W", "1", own[other].strip("[]"), on=outside).returncode == 1
    world.serve(outside, "tcp:99")
    place = {4: OUTSIDE4, 6: f"[{OUTSIDE6}]"}
    assert world.ask(f"tcp:{place[version]}:99", netns(one)) == own[version].strip("[]")  # not masqueraded
    assert world.ask(f"tcp:{place[other]}:99", netns(one)) == {4: HOST4, 6: HOST6}[other]
    assert {"HostIp": "", "HostPort": ""} in (one.port_map()["80/tcp"] or [])
    await networks.release(one.container_id)
    assert one.ip not in world.run("nft", "list", "table", "inet", "kist").stdout


async def test_routed_ports_come_back_after_a_flush_and_a_restart(
    world: World, make_networks: Callable[..., Networks],
) -> None:
    networks = make_networks()
    await networks.open()
    await networks.ready()
    await network(networks, options={"gateway_mode_ipv4": "routed"})
    one = await server(networks, world, "front", ports={"80/tcp": [{"HostPort": "8080"}]})
    route(world, one)
    record, pid = one.record(), world.servers[-1].pid
    await networks.close()
    world.nft("flush ruleset")
    second = make_networks()
    await second.open()
    again = await second.adopt(one.container_id, record, pid)
    await second.ready()
    assert world.ask(f"tcp:{again.ip}:80", world.outside.netns_fd) == OUTSIDE4
    assert world.ask(f"tcp:{again.ip}:81", world.outside.netns_fd, timeout=1) == "silence"


async def test_nat_unprotected(world: World, networks: Networks) -> None:
    await network(networks, options={"gateway_mode_ipv4": "nat-unprotected"})
    one = await server(networks, world, "front", ports={"80/tcp": [{"HostPort": "8080"}]})
    route(world, one)
    assert world.ask(f"tcp:{one.ip}:81", world.outside.netns_fd) == OUTSIDE4
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4
    two = await networks.connect(container_id(), "bridge")
    assert world.ask(f"tcp:{one.ip}:81", netns(two), timeout=1) == "silence"  # networks stay apart


async def test_isolated_networks_are_without_the_host(world: World, networks: Networks) -> None:
    with pytest.raises(InvalidParameter, match="can only be used for an internal network"):
        await network(networks, options={"gateway_mode_ipv4": "isolated"})
    await networks.create({"Name": "front", "Internal": True, "Options": {BRIDGE + "gateway_mode_ipv4": "isolated"}})
    one, two = [await server(networks, world, "front") for _ in range(2)]
    bridge = (await networks.inspect("front"))["Id"][:12]
    assert "inet " not in world.run("ip", "-4", "addr", "show", f"kb{bridge}").stdout
    assert world.ask(f"tcp:{one.ip}:80", netns(two)) == two.ip


@pytest.mark.parametrize(("options", "words"), [
    ({"gateway_mode_ipv4": "nonsense"}, "unknown gateway mode nonsense"),
    ({"host_binding_ipv4": "::1"}, "no IPv4 address"),
    ({"com.docker.network.host_ipv4": "nonsense"}, "(nil ip)"),
])
async def test_nonsense(networks: Networks, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(words)):
        await network(networks, options=options)


# -- other options ----------------------------------------------------------------------------------------------


async def test_ports_are_bound_to_the_networks_address(world: World, networks: Networks) -> None:
    await network(networks, options={"host_binding_ipv4": "127.0.0.1"})
    one = await server(networks, world, "front", ports={"80/tcp": [{"HostPort": "8080"}],
                                                        "81/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8081"}]})
    assert world.ask("tcp:127.0.0.1:8080") == one.gateway
    assert world.ask(f"tcp:{HOST4}:8080", world.outside.netns_fd, timeout=1) == "refused"
    assert world.ask(f"tcp:{HOST4}:8081", world.outside.netns_fd) == OUTSIDE4


async def test_it_goes_out_with_the_address_that_was_asked_for(world: World, networks: Networks) -> None:
    world.run("ip", "addr", "add", "198.51.100.77/24", "dev", "eth0")
    await network(networks, options={"com.docker.network.host_ipv4": "198.51.100.77"})
    await network(networks, "other")
    world.serve(world.outside.netns_fd, "tcp:99")
    one, two = [await networks.connect(container_id(), name) for name in ("front", "other")]
    assert world.ask(f"tcp:{OUTSIDE4}:99", netns(one)) == "198.51.100.77"
    assert world.ask(f"tcp:{OUTSIDE4}:99", netns(two)) == HOST4


async def test_names_and_settings_of_the_interface(world: World, networks: Networks) -> None:
    await network(networks, options={"com.docker.network.container_iface_prefix": "lan"})
    asked = {"DriverOpts": {"com.docker.network.endpoint.ifname": "uplink",
                            "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}}
    one = await networks.connect(container_id(), "front", endpoints={"front": {}, "bridge": asked})
    assert [each.interface for each in one.attachments] == ["lan0", "uplink"]
    read = ("cat", "/proc/sys/net/ipv4/conf/uplink/log_martians")
    assert inside(world, one, *read) == "1\n"
    alone = await networks.connect(container_id(), "bridge", endpoints={"bridge": asked})
    assert inside(world, alone, *read) == "1\n"
    for bad in ({"ifname": "a/b"}, {"ifname": "lo"}, {"sysctls": "net.ipv4.ip_forward=1"}):
        options = {f"com.docker.network.endpoint.{key}": value for key, value in bad.items()}
        with pytest.raises(InvalidParameter, match="invalid"):
            await networks.connect(container_id(), "bridge", endpoints={"bridge": {"DriverOpts": options}})


def inside(world: World, one: Endpoint, *command: str) -> str:
    return world.run(*command, on=netns(one)).stdout


async def test_a_bridge_of_the_users_own_stays_the_users(world: World, networks: Networks) -> None:
    """`com.docker.network.bridge.name` of one that is there: it is used, and given back as it was."""
    world.run("ip", "link", "add", "br-own", "type", "bridge")
    world.run("ip", "addr", "add", "192.0.2.1/24", "dev", "br-own")
    options = {"com.docker.network.bridge.name": "br-own"}
    await networks.create({"Name": "own", "Options": options,
                           "IPAM": {"Config": [{"Subnet": "10.7.0.0/24"}]}})
    one = await networks.connect(container_id(), "own")
    world.serve(None, "tcp:80")
    assert world.ask("tcp:10.7.0.1:80", netns(one)) == one.ip
    with pytest.raises(Forbidden, match=r"conflicts with network .* \(br-own\): networks have same bridge name"):
        await networks.create({"Name": "other", "Options": options})
    await networks.release(one.container_id)
    await networks.remove("own")
    shown = world.run("ip", "-o", "-4", "addr", "show", "dev", "br-own").stdout
    assert "192.0.2.1/24" in shown
    assert "10.7.0.1" not in shown
    assert "kist" not in world.run("ip", "-d", "link", "show", "br-own").stdout


async def test_who_comes_by_the_other_ports_of_a_users_bridge_is_outside(world: World, networks: Networks) -> None:
    """A bridge with an uplink: published ports are no hole in the host's firewall for those behind it, either."""
    lan = world.namespace()
    with Netlink() as host:
        host.run(request.veth("uplink", peer_name="lan0", peer_netns=lan.netns_fd))
    for words in ("link add br-own type bridge", "link set uplink master br-own up", "link set br-own up"):
        world.run("ip", *words.split())
    world.run("ip", "addr", "add", "10.7.0.200/24", "dev", "lan0", on=lan.netns_fd)
    world.run("ip", "link", "set", "lan0", "up", on=lan.netns_fd)
    await networks.create({"Name": "own", "Options": {"com.docker.network.bridge.name": "br-own"},
                           "IPAM": {"Config": [{"Subnet": "10.7.0.0/24"}]}})
    one = await networks.connect(container_id(), "own", ports={"80/tcp": [{"HostPort": "8080"}]})
    other = await networks.connect(container_id(), "own")
    world.serve(netns(one), "tcp:80")
    assert world.ask("tcp:10.7.0.1:8080", lan.netns_fd) == one.gateway
    assert world.ask("tcp:10.7.0.1:8080", netns(other)) == one.gateway
    assert world.ask("tcp:10.7.0.1:8080", netns(one)) == one.gateway
    assert world.ask("tcp:127.0.0.1:8080") == one.gateway
    world.nft("table inet host { chain input { type filter hook input priority filter; tcp dport 8080 drop; }; }")
    assert world.ask("tcp:10.7.0.1:8080", lan.netns_fd, timeout=1) == "silence"
    assert world.ask("tcp:127.0.0.1:8080") == one.gateway


@pytest.mark.parametrize("name", ["lo", "eth0"])
async def test_what_is_no_bridge_is_left_alone(world: World, networks: Networks, name: str) -> None:
    before = world.run("ip", "-o", "-4", "addr", "show", "dev", name).stdout
    with pytest.raises(InvalidParameter, match=f"existing interface {name} is not a bridge"):
        await networks.create({"Name": "x", "Options": {"com.docker.network.bridge.name": name}})
    assert world.run("ip", "-o", "-4", "addr", "show", "dev", name).stdout == before
