"""`network create`'s pools and `run --network`, in the words of docker 28's client."""

from __future__ import annotations

import pytest

from kist.cli.network_pools import pools
from kist.cli.parser import CliError

A, B, SIX = "10.1.0.0/24", "10.2.0.0/24", "fd00:1::/64"


def test_each_belongs_to_the_subnet_where_it_lies() -> None:
    assert pools([A, SIX], ["fd00:1::100/120", "10.1.0.128/25"], ["10.1.0.9"], {"x": "10.1.0.5", "y": "fd00:1::7"}) == [
        {"Subnet": A, "IPRange": "10.1.0.128/25", "Gateway": "10.1.0.9", "AuxiliaryAddresses": {"x": "10.1.0.5"}},
        {"Subnet": SIX, "IPRange": "fd00:1::100/120", "AuxiliaryAddresses": {"y": "fd00:1::7"}},
    ]
    assert pools([], [], [], {}) == []
    assert pools(["what the server says"], [], [], {}) == [{"Subnet": "what the server says"}]


@pytest.mark.parametrize(("subnets", "ranges", "gateways", "others", "words"), [
    ([], ["10.1.0.0/25"], [], {}, "every ip-range or gateway must have a corresponding subnet"),
    ([], [], ["10.1.0.9"], {}, "every ip-range or gateway must have a corresponding subnet"),
    ([A], [], ["10.1.0.9", "10.1.0.8"], {}, "every ip-range or gateway must have a corresponding subnet"),
    ([A, A], [], [], {}, "multiple overlapping subnet configuration is not supported"),
    ([A, "10.1.0.0/25"], [], [], {}, "multiple overlapping subnet configuration is not supported"),
    ([A, SIX], [], ["10.1.0.1", "10.1.0.2"], {},
     f"cannot configure multiple gateways (10.1.0.2, 10.1.0.1) for the same subnet ({A})"),
    ([A, B], ["10.1.0.0/26", "10.1.0.64/26"], [], {},
     f"cannot configure multiple ranges (10.1.0.64/26, 10.1.0.0/26) on the same subnet ({A})"),
    ([A], ["x"], [], {}, "invalid CIDR address: x"), ([A], ["10.1.0.0"], [], {}, "invalid CIDR address: 10.1.0.0"),
    (["x"], [], ["10.1.0.1"], {}, "invalid CIDR address: x"),
    ([A], ["10.9.0.0/24"], [], {}, "no matching subnet for range 10.9.0.0/24"),
    ([A], [], ["x"], {}, "no matching subnet for gateway x"),
    ([A], [], ["10.9.0.1"], {}, "no matching subnet for gateway 10.9.0.1"),
    ([A], [], [], {"a": ""}, "no matching subnet for aux-address "),
    ([], [], [], {"a": "10.1.0.5"}, "no matching subnet for aux-address 10.1.0.5"),
])
def test_what_is_refused(
    subnets: list[str], ranges: list[str], gateways: list[str], others: dict[str, str], words: str,
) -> None:
    with pytest.raises(CliError) as told:
        pools(subnets, ranges, gateways, others)
    assert str(told.value) == words
