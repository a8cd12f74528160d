"""Rates as tc(8) writes them."""

from __future__ import annotations

import pytest

from kist.api import rates


@pytest.mark.parametrize(("text", "bits"), [
    ("8000", 8000), ("10mbit", 10_000_000), ("10MBIT", 10_000_000), ("1.5mbit", 1_500_000), ("1kibit", 1024),
    ("2mbps", 16_000_000), ("1gibps", 8 << 30), ("1tbit", 10**12), (" 5kbit ", 5000), ("3bps", 24), ("0", 0)])
def test_units(text: str, bits: int) -> None:
    assert rates.bits(text) == bits


@pytest.mark.parametrize("text", ["", "mbit", "1xbit", "-1mbit", "1e3", "nan", "inf", "1.2.3", "1 0", "1mb", "9" * 30,
                                  "1mbit/s"])
def test_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match="invalid rate"):
        rates.bits(text)


def test_directions() -> None:
    assert rates.network_rate("10mbit") == {"Egress": 1_250_000, "Ingress": 1_250_000}
    assert rates.network_rate("egress=8kbit") == {"Egress": 1000}
    assert rates.network_rate("ingress=1mbps,egress=0") == {"Ingress": 1_000_000, "Egress": 0}
    assert rates.network_rate("0") == {"Egress": 0, "Ingress": 0}


@pytest.mark.parametrize(("text", "words"), [
    ("up=1mbit", "a direction is egress or ingress"), ("egress=1mbit,egress=2mbit", "egress is there twice"),
    ("1mbit,ingress=1mbit", "ingress is there twice"), ("7kbit", "at least 8kbit"), ("1", "at least 8kbit"),
    ("egress=", "invalid rate ''")])
def test_what_makes_no_sense(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rates.network_rate(text)
