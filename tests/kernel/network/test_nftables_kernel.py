"""libnftables: transactions, what is there, and the words of its errors."""

from __future__ import annotations

import sys

import pytest

from kist.linux import nftables
from kist.linux.nftables import Nftables, NftablesError
from support.network import World


def listed(world: World) -> str:
    return world.run("nft", "list", "tables").stdout


def test_run(world: World) -> None:
    with Nftables() as nft:
        nft.run("table inet t { set s { type inet_service; elements = { 80, 81 }; }; }")
    assert "elements = { 80, 81 }" in world.run("nft", "-n", "list", "ruleset").stdout


def test_all_or_nothing(world: World) -> None:
    with Nftables() as nft:
        with pytest.raises(NftablesError, match="No such file or directory"):
            nft.run("add table inet good\nadd element inet bad s { 1 }")
        assert listed(world) == ""


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
        assert listed(world) == ""
        with pytest.raises(NftablesError):
            nft.check("add chain inet missing c")
        nft.run("add table inet t")
        assert listed(world) == "table inet t\n"


CROWDED = """
import os, resource, sys
from kist.linux.nftables import Nftables
resource.setrlimit(resource.RLIMIT_NOFILE, (3000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
if sys.argv[1] == "known before":
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
    Nftables().close()
    for descriptor in held[:10]:
        os.close(descriptor)  # gaps below what is kept
    Nftables().close()
held = held[10:] + [os.open("/dev/null", os.O_RDONLY) for _ in range(2000)]
for number in range(30):
    with Nftables() as nft:
        nft.run(f"add table inet t{number}")
        os.close(held.pop(0))  # a descriptor below 1024 that another one takes at once
        held.append(os.open("/dev/null", os.O_RDONLY))
"""


@pytest.mark.parametrize(("when", "status", "said"), [
    ("known before", 0, ""), ("too late", 1, "no descriptor below 1024 is free"),
])
def test_a_process_with_thousands_of_descriptors(world: World, when: str, status: int, said: str) -> None:
    """glibc would end it: "bit out of range 0 - FD_SETSIZE on fd_set"."""
    done = world.run(sys.executable, "-c", CROWDED, when)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert listed(world).count("table inet t") == (0 if status else 30)
