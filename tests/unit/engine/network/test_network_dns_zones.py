"""Who knows whom by which name."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from kist.engine.network.dns import wire
from kist.engine.network.dns.zones import Zones


def place(
    network: str, *names: str, ip: str = "", ip6: str = "", links: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {"network": network, "network_name": f"{network}-name", "names": list(names), "ip": ip, "ip6": ip6,
            "links": links or {}}


def ask(zones: Zones, who: str, name: str, kind: int = wire.A) -> list[str] | None:
    """The addresses (or names, for a PTR) of the answer; None when it isn't ours to answer."""
    raw = wire.encode_name(name) + wire.TYPE_CLASS.pack(kind, wire.IN)
    reply, _ = zones.answer(who, wire.parse(wire.HEADER.pack(1, wire.RD, 1, 0, 0, 0) + raw))
    if reply is None:
        return None
    records, found = reply[12 + len(raw) :], []
    while records:
        _, _, _, _, length = wire.RECORD.unpack_from(records)
        data = records[12 : 12 + length]
        if kind == wire.PTR:
            found.append(data.decode("latin-1"))
        else:
            found.append(socket.inet_ntop(socket.AF_INET if length == 4 else socket.AF_INET6, data))
        records = records[12 + length :]
    return found


def test_names_on_the_same_network_only() -> None:
    zones = Zones()
    zones.put("a", [place("n1", "web", "a1", ip="10.1.0.2")])
    zones.put("b", [place("n1", "db", ip="10.1.0.3"), place("n2", "db", ip="10.2.0.3")])
    zones.put("c", [place("n2", "far", ip="10.2.0.4")])
    assert ask(zones, "a", "db") == ["10.1.0.3"]
    assert ask(zones, "c", "db") == ["10.2.0.3"]
    assert ask(zones, "a", "WEB") == ["10.1.0.2"]
    assert ask(zones, "a", "far") is None
    assert ask(zones, "stranger", "web") is None


def test_name_with_the_networks_name_behind() -> None:
    zones = Zones()
    zones.put("a", [place("n1", "web", "web.example", ip="10.1.0.2")])
    assert ask(zones, "a", "web.n1-name") == ["10.1.0.2"]
    assert ask(zones, "a", "web.example") == ["10.1.0.2"]
    assert ask(zones, "a", "web.n2-name") is None


def test_families() -> None:
    zones = Zones()
    zones.put("a", [place("n1", "web", ip="10.1.0.2", ip6="fd00::2")])
    zones.put("b", [place("n1", "old", ip="10.1.0.3")])
    assert ask(zones, "a", "web", wire.AAAA) == ["fd00::2"]
    assert ask(zones, "a", "old", wire.AAAA) == []  # it exists, without such an address
    assert ask(zones, "a", "old", 15) == []


def test_several_containers_of_one_name_take_turns() -> None:
    zones = Zones()
    for number in (2, 3, 4):
        zones.put(f"c{number}", [place("n1", "app", ip=f"10.1.0.{number}")])
    answers = [ask(zones, "c2", "app") for _ in range(3)]
    assert all(sorted(answer or []) == ["10.1.0.2", "10.1.0.3", "10.1.0.4"] for answer in answers)
    assert len({(answer or [""])[0] for answer in answers}) == 3


def test_reverse() -> None:
    zones = Zones()
    zones.put("a", [place("n1", "web", "alias", ip="10.1.0.2", ip6="fd00::2")])
    assert ask(zones, "a", "2.0.1.10.in-addr.arpa", wire.PTR) == ["\x03web\x07n1-name\x00"]
    assert ask(zones, "a", "9.0.1.10.in-addr.arpa", wire.PTR) is None
    assert ask(zones, "stranger", "2.0.1.10.in-addr.arpa", wire.PTR) is None


@pytest.mark.parametrize(("network", "pointer"), [
    ("a b", "\x03web\x03a b\x00"), ("日本", "\x03web\x06日本\x00"), ("..", "\x03web\x00"), ("x" * 255, "\x03web\x00"),
])
def test_networks_whose_names_are_no_names_of_dns(network: str, pointer: str) -> None:
    zones = Zones()
    zones.put("a", [{**place("n1", "web", "ümlaut", ip="10.1.0.2"), "network_name": network}])
    assert ask(zones, "a", "2.0.1.10.in-addr.arpa", wire.PTR) == [pointer.encode().decode("latin-1")]
    assert ask(zones, "a", "web") == ask(zones, "a", "ümlaut") == ["10.1.0.2"]
    if pointer.count("\x03") == 2 or "日" in pointer:
        assert ask(zones, "a", f"web.{network}") == ["10.1.0.2"]


def test_links_are_one_containers_own_names_for_others() -> None:
    zones = Zones()
    zones.put("db", [place("n1", "postgres", ip="10.1.0.2")])
    zones.put("a", [place("n1", "web", ip="10.1.0.3", links={"database": "postgres"})])
    assert ask(zones, "a", "database") == ["10.1.0.2"]
    assert ask(zones, "db", "database") is None


def test_what_was_dropped_or_replaced_is_gone() -> None:
    zones = Zones()
    zones.put("a", [place("n1", "web", ip="10.1.0.2")])
    zones.put("b", [place("n1", "web", ip="10.1.0.3")])
    zones.drop("a")
    zones.drop("a")
    assert ask(zones, "b", "web") == ["10.1.0.3"]
    assert ask(zones, "b", "2.0.1.10.in-addr.arpa", wire.PTR) is None
    zones.put("b", [place("n1", "other", ip="10.1.0.4")])
    assert ask(zones, "b", "web") is None
    assert ask(zones, "b", "other") == ["10.1.0.4"]
