"""Subnets and addresses."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.engine.network.ipam import Pool, free_subnet, mac_for, overlapping
from kist.errors import Conflict, EngineFailure, InvalidParameter

POOLS = (("10.89.0.0/16", 24), ("172.16.0.0/12", 20))


def test_first_free_part_of_the_first_pool() -> None:
    assert free_subnet(POOLS, []) == ip_network("10.89.0.0/24")
    assert free_subnet(POOLS, [ip_network("10.89.0.0/24"), ip_network("10.89.1.128/25")]) == ip_network("10.89.2.0/24")


def test_a_route_over_the_whole_pool_moves_on_to_the_next() -> None:
    assert free_subnet(POOLS, [ip_network("10.0.0.0/8")]) == ip_network("172.16.0.0/20")


def test_a_default_route_hides_nothing() -> None:
    assert free_subnet(POOLS, [ip_network("0.0.0.0/0")]) == ip_network("10.89.0.0/24")


def test_ipv6_routes_dont_matter_for_ipv4() -> None:
    assert overlapping(ip_network("10.0.0.0/8"), [ip_network("fd00::/8")]) is None


def test_all_taken() -> None:
    with pytest.raises(EngineFailure, match="non-overlapping"):
        free_subnet((("10.89.0.0/24", 24),), [ip_network("10.0.0.0/8")])


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 32)), max_size=20))
def test_a_free_subnet_overlaps_nothing(taken: list[tuple[int, int]]) -> None:
    nets = [ip_network((address >> (32 - size) << (32 - size), size)) for address, size in taken]
    try:
        found = free_subnet(POOLS, nets)
    except EngineFailure:
        return
    assert not any(found.overlaps(net) for net in nets)


def test_addresses_in_turn_and_never_the_reserved() -> None:
    pool = Pool("10.1.0.0/29", reserved=["10.1.0.3"])
    assert [pool.take("a") for _ in range(4)] == ["10.1.0.2", "10.1.0.4", "10.1.0.5", "10.1.0.6"]
    with pytest.raises(EngineFailure, match="no available IPv4 addresses"):
        pool.take("b")


def test_an_address_that_came_back_rests_until_its_turn() -> None:
    pool = Pool("10.1.0.0/29")
    first = pool.take("a")
    pool.give_back(first)
    assert [pool.take("b") for _ in range(5)] == ["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6", first]


def test_wanted_address() -> None:
    pool = Pool("10.1.0.0/24")
    assert pool.take("a", "10.1.0.77") == "10.1.0.77"
    assert pool.take("a", "10.1.0.77") == "10.1.0.77"
    with pytest.raises(Conflict, match="Address already in use"):
        pool.take("b", "10.1.0.77")
    with pytest.raises(InvalidParameter, match="no configured subnet"):
        pool.take("b", "10.2.0.1")


@pytest.mark.parametrize("reserved", ["10.1.0.0", "10.1.0.1", "10.1.0.255"])
def test_network_gateway_and_broadcast_are_nobodys(reserved: str) -> None:
    pool = Pool("10.1.0.0/24")
    with pytest.raises(Conflict):
        pool.take("a", reserved)
    pool.give_back(reserved)
    with pytest.raises(Conflict):
        pool.take("a", reserved)


def test_range_narrows_what_is_given_unasked() -> None:
    pool = Pool("10.1.0.0/16", ip_range="10.1.4.0/30", gateway="10.1.0.1")
    assert [pool.take("a") for _ in range(4)] == ["10.1.4.0", "10.1.4.1", "10.1.4.2", "10.1.4.3"]
    assert pool.take("b", "10.1.9.9") == "10.1.9.9"


def test_chosen_gateway() -> None:
    pool = Pool("10.1.0.0/24", gateway="10.1.0.254")
    assert pool.take("a") == "10.1.0.1"


@pytest.mark.parametrize(("subnet", "ip_range", "gateway"), [
    ("10.1.0.0/24", "", "10.1.0.1"), ("10.1.0.0/24", "10.1.0.0/26", "10.1.0.1"),
    ("10.1.0.0/24", "10.1.0.64/26", "10.1.0.64"), ("10.1.0.0/31", "", "10.1.0.0"), ("10.1.0.0/32", "", "10.1.0.0"),
    ("fd00::/127", "", "fd00::1"), ("fd00::/64", "fd00::100/120", "fd00::100"),
])
def test_the_gateway_is_the_first_of_the_range_as_in_docker(subnet: str, ip_range: str, gateway: str) -> None:
    assert str(Pool(subnet, ip_range=ip_range).gateway) == gateway


def test_two_addresses_are_enough_for_one_container() -> None:
    pool = Pool("10.1.0.0/31")
    assert pool.take("a") == "10.1.0.1"
    for full in (pool, Pool("10.1.0.0/32"), Pool("fd00::/127")):
        with pytest.raises(EngineFailure, match=r"no available IPv\d addresses"):
            full.take("b")


def test_ipv6_pool_is_never_counted_through() -> None:
    pool = Pool("fd00::/64")
    assert pool.take("a") == "fd00::2"
    assert pool.take("a") == "fd00::3"


@pytest.mark.parametrize(("subnet", "options"), [
    ("10.1.0.0/24", {"gateway": "10.2.0.1"}), ("10.1.0.0/24", {"ip_range": "10.1.0.0/16"}),
    ("10.1.0.0/24", {"reserved": ["10.2.0.1"]}), ("nonsense", {}), ("10.1.0.0/24", {"gateway": "x"}),
])
def test_nonsense_is_refused(subnet: str, options: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter):
        Pool(subnet, **options)


def test_mac_address_comes_from_the_address() -> None:
    assert mac_for("10.88.0.2") == "02:42:0a:58:00:02"
    assert mac_for("fd00::2") == "02:42:00:00:00:02"
