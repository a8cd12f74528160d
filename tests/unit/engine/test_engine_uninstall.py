"""What `kist server --uninstall` takes away of the control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.engine import uninstall


@pytest.mark.parametrize("parent", ["/", "/shared"])
def test_groups_of_others_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parent: str) -> None:
    """`cgroup-parent` may be one that others use, and their groups may be empty just now: rmdir(2) would take them."""
    monkeypatch.setattr(uninstall, "CGROUPS", str(tmp_path))
    (tmp_path / "cgroup.controllers").touch()
    top = tmp_path / parent[1:]
    container, other = top / ("0a" * 32), top / "other.slice/idle.scope"
    (container / "made/inside").mkdir(parents=True)
    other.mkdir(parents=True)
    assert uninstall._remove_groups(parent) == [f"{tmp_path}{parent}"]
    assert not container.exists()
    assert other.is_dir()
