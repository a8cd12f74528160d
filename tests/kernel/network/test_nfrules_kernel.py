"""Whole tables by netlink: in nft's words, and beside somebody who never stops changing rules."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from kist.engine.network import Networks
from kist.engine.network.firewall import Bridge, Link, Port, Published, Rules
from kist.linux.netlink import nfelements, nfrules
from kist.linux.netlink.nfelements import Elements
from kist.linux.netlink.nfnetlink import Nfnetlink
from kist.linux.nftables import Nftables
from support.network import World

# Thousands of changes a second, each with another generation of the rule set.
WRITER = """
import sys
from kist.linux.netlink import nfrules
from kist.linux.netlink.nfnetlink import Nfnetlink
with Nfnetlink() as kernel:
    made, removed = nfrules.removal("inet", "storm" + sys.argv[1])
    kernel.commit([made])
    print("ready", flush=True)
    while True:
        kernel.commit([made])
        kernel.commit([removed])
"""


def full() -> Rules:
    """Rules with something in every kind of set."""
    rules = Rules("kist", "storm-o", "storm-i")
    rules.add_bridge(Bridge("kb0", ("10.88.0.0/16", "fd00::/64"), sources=("192.0.2.1", "2001:db8::1"), internal=True))
    rules.guard(Port("kv0", "02:42:0a:58:00:02", ("10.88.0.2", "fd00::2"), apart=True))
    rules.publish([Published("tcp", "", 8080, "10.88.0.2", 80), Published("udp", "192.0.2.1", 53, "10.88.0.2", 53),
                   Published("tcp", "", 0, "10.88.0.2", 81), Published("tcp", "", 8080, "fd00::2", 80)])
    rules.link({Link("10.88.0.2", "10.88.0.3", "tcp", 80), Link("fd00::2", "fd00::3", "tcp", 80)})
    return rules


@pytest.fixture
def relay(world: World) -> World:
    world.run("ip", "link", "add", "storm-o", "type", "veth", "peer", "name", "storm-i")
    return world


def listed(world: World) -> str:
    return world.run("nft", "-s", "list", "ruleset").stdout


def test_a_copy_is_what_the_library_makes(relay: World) -> None:
    """Chains, hooks, priorities, policies, sets with their types, anonymous maps, rules: compiled here by libnftables,
    and once more from what is read of them."""
    rules = full()
    with Nftables() as nft, Elements() as kernel:
        nft.run(rules.tables())
        kernel.change(rules.elements())
        want = listed(relay)
        copy = nfrules.copied(kernel)
        kernel.commit([request for family in rules.families() for request in nfrules.removal(family, rules.table)])
        assert listed(relay) == ""
        kernel.commit(copy)
    assert listed(relay) == want
    for words in ("established : accept", "jump relay", "10.88.0.0/16 . 10.88.0.0/16", 'device "storm-o"',
                  "typeof iifname . @th,64,128"):
        assert words in want


def test_what_is_there(world: World) -> None:
    with Nfnetlink() as kernel:
        assert not nfrules.has_table(kernel, "inet", "t")
        world.nft("""table inet t { chain in { type filter hook forward priority 3; policy drop; }; chain plain { }; }
                     table bridge t { chain in { type filter hook forward priority 3; }; }""")
        assert nfrules.has_table(kernel, "inet", "t")
        assert not nfrules.has_table(kernel, "ip", "t")
        assert nfrules.chains(kernel) == [
            nfrules.Chain("inet", "t", "in", 2, True), nfrules.Chain("inet", "t", "plain", None, False),
            nfrules.Chain("bridge", "t", "in", 2, False)]
        kernel.commit([*nfrules.removal("inet", "t"), *nfrules.removal("ip", "t")])
        assert not nfrules.has_table(kernel, "inet", "t")


def test_a_refusal_names_what_was_refused_and_nothing_has_changed(world: World) -> None:
    with Nfnetlink() as kernel:
        made, removed = nfrules.removal("inet", "t")
        missing = nfelements.Element(True, "inet", "t", "none", (("inet_proto", "6"),))
        with pytest.raises(FileNotFoundError, match=r"add element inet t none \{ 6 \}"):
            kernel.commit([made, *nfelements.requests([missing])])
        with pytest.raises(FileNotFoundError, match="table inet t"):
            kernel.commit([removed])
        assert not nfrules.has_table(kernel, "inet", "t")


@pytest.fixture
def storm(world: World) -> Iterator[None]:
    """Many tables, and programs that change others all the time."""
    world.nft("".join(f"add table inet crowd{number}\nadd chain inet crowd{number} c\n" for number in range(300)))
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(number)], stdout=subprocess.PIPE)
               for number in range(3)]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
        yield
        assert [writer.poll() for writer in writers] == [None] * 3
    finally:
        for writer in writers:
            with writer:
                writer.kill()


async def test_networks_come_up_beside_somebody_who_never_stops_changing_rules(
    storm: None, make_networks: Callable[..., Networks], world: World,
) -> None:
    """libnftables would read all of it before each command, and begin anew whenever it was changed meanwhile."""
    networks = make_networks()
    async with asyncio.timeout(60):  # it takes some tenths; by libnftables many minutes
        await networks.open()
        await networks.ready()
        await networks.create({"Name": "other"})
        await networks.warnings()
        await networks.remove("other")
    with Nfnetlink() as kernel:
        assert all(nfrules.has_table(kernel, family, "kist") for family in ("inet", "ip", "ip6", "bridge"))
