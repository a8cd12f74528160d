"""What the kernel makes of the elements that Kist sends itself: in nft's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kist.linux.netlink.nfelements import Element, Elements
from support.network import World

SETS = """
table bridge t { set one { type ifname; };
                 set mac { type ifname . ether_addr; }; set own6 { type ifname . ipv6_addr; }; }
table inet t { set near { type ipv4_addr . ipv4_addr; flags interval; }; map source { type ifname : ipv6_addr; }; }
table ip t { map at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
             set open { type inet_proto . inet_service; }; }
table ip6 t { map port { type inet_proto . inet_service : ipv6_addr . inet_service; }; }
"""
NAME = ("ifname", "kv0123456789abc")
SERVICE = (("inet_proto", "6"), ("inet_service", "8080"))
CASES = [
    ("bridge", "one", (NAME,), (), "kv0123456789abc"),
    ("bridge", "mac", (NAME, ("ether_addr", "02:42:0a:58:00:02")), (),
     {"concat": ["kv0123456789abc", "02:42:0a:58:00:02"]}),
    ("bridge", "own6", (NAME, ("ipv6_addr", "fd00::2")), (), {"concat": ["kv0123456789abc", "fd00::2"]}),
    ("ip", "at", (("ipv4_addr", "192.0.2.1"), *SERVICE), (("ipv4_addr", "10.88.0.2"), ("inet_service", "80")),
     [{"concat": ["192.0.2.1", "tcp", 8080]}, {"concat": ["10.88.0.2", 80]}]),
    ("ip", "open", SERVICE, (), {"concat": ["tcp", 8080]}),
    ("inet", "source", (NAME,), (("ipv6_addr", "fd00::1"),), ["kv0123456789abc", "fd00::1"]),
    ("ip6", "port", SERVICE, (("ipv6_addr", "fd00::2"), ("inet_service", "80")),
     [{"concat": ["tcp", 8080]}, {"concat": ["fd00::2", 80]}]),
]


def elements_of(world: World, family: str, name: str) -> list[Any]:
    shown = json.loads(world.run("nft", "-j", "list", "table", family, "t").stdout)["nftables"]
    found = [one[kind] for one in shown for kind in ("set", "map") if kind in one and one[kind]["name"] == name]
    return list(found[0].get("elem", []))


@pytest.mark.parametrize(("family", "name", "key", "data", "shown"), CASES)
def test_nft_reads_what_was_added_and_both_delete_it(
    world: World, family: str, name: str, key: Any, data: Any, shown: Any,
) -> None:
    world.nft(SETS)
    added = Element(True, family, "t", name, key, data)
    deleted = Element(False, family, "t", name, key)
    with Elements() as elements:
        elements.change([added])
        assert elements_of(world, family, name) == [shown]
        elements.change([added])  # there already
        elements.change([deleted])
        assert elements_of(world, family, name) == []
        elements.change([added])
        key_words = " . ".join(f'"{value}"' if kind == "ifname" else value for kind, value in key)
        data_words = " : " + " . ".join(value for _, value in data) if data else ""
        world.nft(f"delete element {family} t {name} {{ {key_words} }}")
        assert elements_of(world, family, name) == []
        world.nft(f"add element {family} t {name} {{ {key_words}{data_words} }}")
        elements.change([deleted])
        assert elements_of(world, family, name) == []


def test_an_interval_as_nft_writes_it(world: World) -> None:
    world.nft(SETS)
    first, last = (("ipv4_addr", "10.88.0.0"),) * 2, (("ipv4_addr", "10.88.255.255"),) * 2
    prefix = {"prefix": {"addr": "10.88.0.0", "len": 16}}
    with Elements() as elements:
        elements.change([Element(True, "inet", "t", "near", first, end=last)])
        assert elements_of(world, "inet", "near") == [{"concat": [prefix, prefix]}]
        world.nft("delete element inet t near { 10.88.0.0/16 . 10.88.0.0/16 }")
        world.nft("add element inet t near { 10.88.0.0/16 . 10.88.0.0/16 }")
        elements.change([Element(False, "inet", "t", "near", first, end=last)])
    assert elements_of(world, "inet", "near") == []


def opened(number: int, *, add: bool = True, name: str = "open") -> Element:
    return Element(add, "ip", "t", name, (("inet_proto", "6"), ("inet_service", str(number))))


def test_all_or_nothing(world: World) -> None:
    world.nft(SETS)
    with Elements() as elements:
        with pytest.raises(FileNotFoundError, match=r"add element ip t missing { 6 . 2 }"):
            elements.change([opened(1), opened(2, name="missing")])
        assert elements_of(world, "ip", "open") == []
        elements.change([opened(1)])
        assert len(elements_of(world, "ip", "open")) == 1


def test_deleting_what_is_not_there_is_no_failure(world: World) -> None:
    world.nft(SETS)
    with Elements() as elements:
        elements.change([opened(1), opened(2)])
        elements.change([opened(number, add=False) for number in range(2, 600)] + [opened(7)])
        assert elements_of(world, "ip", "open") == [{"concat": ["tcp", 1]}, {"concat": ["tcp", 7]}]
        elements.change([opened(1, add=False, name="missing"), opened(1, add=False)])
        assert elements_of(world, "ip", "open") == [{"concat": ["tcp", 7]}]
        world.nft("flush ruleset")
        elements.change([opened(number, add=False) for number in range(1, 5000)])


def test_ten_thousand_at_once(world: World) -> None:
    world.nft(SETS)
    with Elements() as elements:
        elements.change([opened(number) for number in range(1, 10001)])
        assert len(elements_of(world, "ip", "open")) == 10000
        elements.change([opened(number, add=False) for number in range(1, 10001)])
        assert elements_of(world, "ip", "open") == []
