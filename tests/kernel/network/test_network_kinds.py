"""Networks of unusual kinds: names that aren't file names, subnets of two addresses, settings for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kist.engine.network import Networks, drawing
from kist.errors import EngineFailure, Forbidden, KistError
from support.network import World, container_id, netns

ODD = ["a b", "../x", "..", "é日本😀", "<b>&\"", "x" * 255, "日" * 100]


async def test_a_network_may_have_any_name(world: World, make_networks: Callable[..., Networks]) -> None:
    """Wherever names are used: a file, the bridge's alias, DNS, the map. And it is there after a restart."""
    networks = make_networks()
    await networks.open()
    await networks.ready()
    for number, name in enumerate(ODD):
        await networks.create({"Name": name})
        one = await networks.connect(container_id(), name, name=f"web{number}")
        assert one.name == name
        dig = ("dig", "+short", "@127.0.0.11")
        assert world.run(*dig, f"web{number}", on=netns(one)).stdout.strip() == one.ip
        assert world.run(*dig, "-x", one.ip, on=netns(one)).stdout.startswith(f"web{number}.")
        shown = world.run("ip", "-d", "link", "show", networks.named(name).bridge).stdout
        assert "alias kist network " in shown
        await networks.release(one.container_id)
    drawn = drawing.svg(await networks.map())
    assert "<b>" not in drawn
    assert "&lt;b&gt;" in drawn
    files = sorted(path.name for path in (world.tmp_path / "data" / "networks").iterdir())
    assert files == sorted(f"{networks.named(name).id}.json" for name in (*ODD, "bridge", "host", "none"))
    await networks.close()
    after = make_networks()
    await after.open()
    await after.ready()
    for name in ODD:
        await after.remove(name)


async def test_two_addresses_are_enough(world: World, networks: Networks) -> None:
    """As Docker: the gateway, one container, and no more (RFC 3021)."""
    await networks.create({"Name": "two", "IPAM": {"Config": [{"Subnet": "10.7.0.0/31"}]}})
    one = await networks.connect(container_id(), "two", ports={"80/tcp": [{"HostPort": "8080"}]})
    assert (one.ip, one.gateway, one.prefixlen) == ("10.7.0.1", "10.7.0.0", 31)
    world.serve(netns(one), "tcp:80")
    world.serve(None, "tcp:9000")
    assert world.ask("tcp:10.7.0.1:80") == "10.7.0.0"
    assert world.ask("tcp:198.51.100.1:8080", world.outside.netns_fd) == "198.51.100.2"
    assert world.ask("tcp:10.7.0.0:9000", netns(one)) == "10.7.0.1"
    with pytest.raises(EngineFailure, match="no available IPv4 addresses"):
        await networks.connect(container_id(), "two")


@pytest.mark.parametrize(("subnet", "ipv6"), [("10.7.0.0/32", False), ("fd00:7::/127", True)])
async def test_too_small_for_a_container(networks: Networks, subnet: str, *, ipv6: bool) -> None:
    await networks.create({"Name": "small", "EnableIPv6": ipv6, "IPAM": {"Config": [{"Subnet": subnet}]}})
    with pytest.raises(EngineFailure, match=r"no available IPv\d addresses"):
        await networks.connect(container_id(), "small")


async def test_settings_for_other_networks(world: World, make_networks: Callable[..., Networks]) -> None:
    networks = make_networks()
    await networks.open()
    await networks.ready()
    body = {"Name": "settings", "ConfigOnly": True, "Options": {"com.docker.network.driver.mtu": "1400"},
            "IPAM": {"Config": [{"Subnet": "10.7.0.0/24", "Gateway": "10.7.0.9"}]}}
    await networks.create(body)
    assert not Path(f"/sys/class/net/kb{networks.named('settings').id[:12]}").exists()
    with pytest.raises(Forbidden, match="cannot create endpoint on configuration-only network"):
        await networks.connect(container_id(), "settings")
    await networks.create({"Name": "made", "ConfigFrom": {"Network": "settings"}})
    with pytest.raises(KistError, match="Pool overlaps"):
        await networks.create({"Name": "again", "ConfigFrom": {"Network": "settings"}})
    one = await networks.connect(container_id(), "made")
    assert (one.ip, one.gateway) == ("10.7.0.1", "10.7.0.9")
    assert "mtu 1400" in world.run("ip", "link", "show", "eth0", on=netns(one)).stdout
    assert [shown["Name"] for shown in (await networks.map())["Networks"]] == ["bridge", "made"]
    await networks.release(one.container_id)
    await networks.close()
    after = make_networks()  # a new server has both, and the settings still take no addresses
    await after.open()
    await after.ready()
    assert (await after.inspect("made"))["ConfigFrom"] == {"Network": "settings"}
    with pytest.raises(Forbidden, match='configuration network "settings" is in use'):
        await after.remove("settings")
    await after.remove("made")
    await after.create({"Name": "own", "IPAM": body["IPAM"]})
    await after.remove("settings")
