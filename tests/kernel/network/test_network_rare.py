"""What many kernels don't have: ipvlan devices and SCTP. `make test-vm` runs this on one that has both; elsewhere it
is the refusal, or the rest, that is tested. (No plugin for coroutines there: the tests run their own loop.)"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kist.engine.network import Networks
from kist.errors import NotSupported
from kist.linux.netlink import Netlink, request
from kist.linux.nftables import Nftables
from support.network import HOST4, OUTSIDE4, World, container_id, netns

MUST = "cloud" in os.uname().release  # the virtual machine's kernel: nothing is missing there
PORTS = {"80/sctp": [{"HostPort": "8080"}]}


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[Networks]:
    networks = Networks(data=str(world.tmp_path / "data"), run=str(world.tmp_path / "run"))
    try:
        await networks.open()
        await networks.ready()
        yield networks
    finally:
        await networks.close(remove=True)


def has_ipvlan() -> bool:
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        with Netlink() as netlink:
            netlink.run(request.ipvlan("probe", parent=netlink.link("eth0").index, mode="l2", flag="bridge", netns=here,
                                       mtu=0))
            netlink.run(request.delete_link("probe"))
    except OSError:
        return False
    finally:
        os.close(here)
    return True


def has_sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("mode", ["l2", "l3"])
def test_ipvlan(world: World, mode: str) -> None:
    async def story() -> None:
        async with opened(world) as networks:
            subnet = {"Subnet": "198.51.100.0/24", "IPRange": "198.51.100.128/25", "Gateway": "198.51.100.254"}
            options = {"parent": "eth0", "ipvlan_mode": mode}
            await networks.create({"Name": "wire", "Driver": "ipvlan", "IPAM": {"Config": [subnet]},
                                   "Options": options})
            if not MUST and not has_ipvlan():
                with pytest.raises(NotSupported, match="this kernel has no ipvlan devices"):
                    await networks.connect(container_id(), "wire")
                return
            one = await networks.connect(container_id(), "wire")
            two = await networks.connect(container_id(), "wire")
            world.serve(world.outside.netns_fd, "tcp:99")
            world.serve(netns(two), "tcp:80")
            assert world.ask(f"tcp:{two.ip}:80", netns(one)) == one.ip
            if mode == "l2":  # in l3 the wire needs a route to them
                assert world.ask(f"tcp:{OUTSIDE4}:99", netns(one)) == one.ip
                assert world.ask(f"tcp:{two.ip}:80", world.outside.netns_fd) == OUTSIDE4
            world.serve(None, "tcp:98")
            assert world.ask(f"tcp:{HOST4}:98", netns(one), timeout=1) != one.ip  # not the host, by the kernel's design

    asyncio.run(story())


def test_macvlan(world: World) -> None:
    """Its eth0 beside the host's: kernels before 6.14 look for the name in the wrong namespace."""
    async def story() -> None:
        async with opened(world) as networks:
            subnet = {"Subnet": "198.51.100.0/24", "IPRange": "198.51.100.128/25", "Gateway": "198.51.100.254"}
            await networks.create({"Name": "wire", "Driver": "macvlan", "IPAM": {"Config": [subnet]},
                                   "Options": {"parent": "eth0"}})
            one = await networks.connect(container_id(), "wire")
            assert one.first.interface == "eth0"
            world.serve(world.outside.netns_fd, "tcp:99")
            assert world.ask(f"tcp:{OUTSIDE4}:99", netns(one)) == one.ip

    asyncio.run(story())


def test_sctp(world: World) -> None:
    async def story() -> None:
        async with opened(world) as networks:
            one = await networks.connect(container_id(), "default", ports=PORTS)
            assert one.port_map()["80/sctp"] == [{"HostIp": "0.0.0.0", "HostPort": "8080"}]
            if not MUST and not has_sctp():
                return
            world.serve(netns(one), "sctp:80")
            assert world.ask(f"sctp:{one.ip}:80") == one.gateway
            assert world.ask(f"sctp:{HOST4}:8080", world.outside.netns_fd) == OUTSIDE4
            other = await networks.connect(container_id(), "default")
            assert world.ask(f"sctp:{one.ip}:80", netns(other)) == other.ip
            with Nftables() as nft:
                nft.run("table inet host { chain input { type filter hook input priority filter; "
                        "sctp dport 8080 drop; }; }")
            assert world.ask(f"sctp:{HOST4}:8080", world.outside.netns_fd, timeout=1) == "silence"

    asyncio.run(story())
