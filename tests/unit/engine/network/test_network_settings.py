"""The configuration's words about networking."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.engine.config import Config
from kist.errors import InvalidParameter


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(f"[network]\n{text}\n")
    return Config.load(str(path))


def test_pools_and_the_firewall_switch(tmp_path: Path) -> None:
    config = load(tmp_path, 'pools = ["10.77.0.0/16/24", "192.168.0.0/16/20"]\nports-bypass-input-rules = true')
    assert config.pools == (("10.77.0.0/16", 24), ("192.168.0.0/16", 20))
    assert config.ports_bypass_input_rules
    assert load(tmp_path, "").pools == ()


def test_the_hosts_addresses(tmp_path: Path) -> None:
    assert load(tmp_path, 'host-gateway-ips = ["192.0.2.1", "2001:DB8::1"]').host_gateway_ips == (
        "192.0.2.1", "2001:db8::1")
    with pytest.raises(InvalidParameter, match=r"network\.host-gateway-ips.*list of IP addresses"):
        load(tmp_path, 'host-gateway-ips = ["x"]')


@pytest.mark.parametrize("pool", ["10.77.0.0/16", "10.77.0.0/16/8", "10.77.0.0/16/31", "x/16/24", "10.77.0.0/16/a"])
def test_bad_pools(tmp_path: Path, pool: str) -> None:
    with pytest.raises(InvalidParameter, match=r"network\.pools"):
        load(tmp_path, f'pools = ["{pool}"]')
