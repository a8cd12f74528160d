"""libnftables: transactions, what is there, and the words of its errors."""

from __future__ import annotations

import pytest

from kist.linux import nftables
from kist.linux.nftables import Nftables, NftablesError
from support.network import World


def test_run_and_show(world: World) -> None:
    with Nftables() as nft:
        nft.run("table inet t { set s { type inet_service; elements = { 80, 81 }; }; }")
        assert nft.tables() == [("inet", "t")]
        (entry,) = [entry["set"] for entry in nft.show("table inet t") if "set" in entry]
        assert entry["elem"] == [80, 81]
    assert "tcp" not in world.run("nft", "list", "ruleset").stdout


def test_all_or_nothing(world: World) -> None:
    with Nftables() as nft:
        with pytest.raises(NftablesError, match="No such file or directory"):
            nft.run("add table inet good\nadd element inet bad s { 1 }")
        assert nft.tables() == []


def test_errors_name_the_line(world: World) -> None:
    with Nftables() as nft, pytest.raises(NftablesError, match=r"^nftables: .*syntax error.* in: add table x; garbage"):
        nft.run("add table x; garbage")


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "LIBRARY", "libnftables.so.none")
    monkeypatch.setattr(nftables, "_loaded", [])
    with pytest.raises(FileNotFoundError, match="install the package libnftables1"):
        Nftables()


def test_check_changes_nothing(world: World) -> None:
    with Nftables() as nft:
        nft.check("add table inet t")
        assert nft.tables() == []
        with pytest.raises(NftablesError):
            nft.check("add chain inet missing c")
        nft.run("add table inet t")
        assert nft.tables() == [("inet", "t")]
