"""The netlink codec against the kernel: what is asked for is what `ip` then shows."""

from __future__ import annotations

import errno

import pytest

from kist.linux.netlink import Netlink, request
from support.network import World


def test_devices_addresses_routes_and_neighbours(world: World) -> None:
    with Netlink() as netlink:
        netlink.run(
            request.bridge("br0", address="02:42:0a:09:00:01", mtu=1400),
            request.veth("v0", peer_name="p0", peer_netns=world.outside.netns_fd, peer_address="02:42:0a:09:00:02"),
        )
        bridge, veth = netlink.link("br0"), netlink.link("v0")
        netlink.run(
            request.set_link(veth.index, master=bridge.index, alias="a remark"),
            request.add_address(bridge.index, "10.9.0.1", 24),
            request.add_route("10.10.0.0", 16, gateway="10.9.0.2", metric=7),
            request.add_neighbour(bridge.index, "10.9.0.3", "02:42:0a:09:00:03"),
        )
        assert (bridge.kind, bridge.mtu, bridge.address) == ("bridge", 1400, "02:42:0a:09:00:01")
        veth = netlink.link("v0")
        assert (veth.kind, veth.master, veth.alias) == ("veth", bridge.index, "a remark")
        assert ("10.9.0.1", 24) in {(one.address, one.prefixlen) for one in netlink.addresses()}
        assert ("10.10.0.0", 16, "10.9.0.2", 7) in {
            (one.dst, one.prefixlen, one.gateway, one.priority) for one in netlink.routes()}
        assert ("10.9.0.3", "02:42:0a:09:00:03") in {(one.address, one.lladdr) for one in netlink.neighbours()}
        netlink.run(request.set_port(veth.index, hairpin=True, isolated=True))
    shown = world.run("ip", "-d", "link").stdout
    assert "hairpin on" in shown
    assert "isolated on" in shown
    assert "10.10.0.0/16 via 10.9.0.2 dev br0 metric 7" in world.run("ip", "route").stdout
    assert "02:42:0a:09:00:02" in world.run("ip", "link", "show", "p0", on=world.outside.netns_fd).stdout


def test_macvlan_straight_into_a_namespace(world: World) -> None:
    with Netlink() as netlink:
        netlink.run(request.macvlan("mac0", parent=netlink.link("eth0").index, netns=world.outside.netns_fd))
    assert "macvlan mode bridge" in world.run("ip", "-d", "link", "show", "mac0", on=world.outside.netns_fd).stdout


def test_rename_move_and_delete(world: World) -> None:
    with Netlink() as netlink:
        netlink.run(request.bridge("one"))
        netlink.run(request.set_link(netlink.link("one").index, name="two", up=False))
        assert netlink.link("two").kind == "bridge"
        netlink.run(request.delete_link("two"))
        with pytest.raises(OSError) as caught:
            netlink.link("two")
        assert caught.value.errno == errno.ENODEV
        netlink.run(request.veth("here", peer_name="there"))
        netlink.run(request.set_link(netlink.link("there").index, netns=world.outside.netns_fd))
    assert "there" in world.run("ip", "-br", "link", on=world.outside.netns_fd).stdout


def test_errors_carry_the_kernels_words_and_ours(world: World) -> None:
    with Netlink() as netlink:
        with pytest.raises(OSError) as caught:
            netlink.run(request.add_route("10.99.0.0", 16, gateway="203.0.113.9"))
        assert caught.value.errno == errno.ENETUNREACH
        assert "Nexthop has invalid gateway" in str(caught.value)
        assert caught.value.filename == "add route 10.99.0.0/16 via 203.0.113.9"


def test_a_batch_goes_on_behind_a_failure_and_reports_the_first(world: World) -> None:
    with Netlink() as netlink:
        with pytest.raises(FileExistsError, match="create bridge br0"):
            netlink.run(request.bridge("br0"), request.bridge("br0"), request.bridge("br0"), request.bridge("br1"))
        assert {"br0", "br1"} <= {link.name for link in netlink.links()}


def test_more_requests_than_fit_one_datagram(world: World) -> None:
    with Netlink() as netlink:
        netlink.run(*(request.bridge(f"b{number}", up=False) for number in range(150)))
        assert len([link for link in netlink.links() if link.kind == "bridge"]) == 150
        netlink.run(*(request.delete_link(f"b{number}") for number in range(150)))
