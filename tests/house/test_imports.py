"""Who may import whom: the table of the design, held against every import in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "kist"
EVERYBODY = {"errors", "version"}
MAY: dict[str, set[str]] = {
    "errors": set(),
    "version": set(),
    "linux": set(),
    "oci": set(),
    "api": set(),
    "runtime": {"linux"},
    "launcher": {"linux", "runtime", "api"},
    "store": {"oci", "linux"},
    "registry": {"oci"},
    "hub": {"oci", "store", "registry"},
    "engine": {"store", "registry", "oci", "api", "launcher", "linux"},
    "server": {"api", "engine"},
    "client": {"api"},
    "cli": {"client", "api"},
}
# One door into a package where the table gives only a part of it.
DOORS = {("engine", "launcher"): "kist.launcher.client", ("launcher", "api"): "kist.api.frames"}
PURE_PACKAGES = ("oci", "api")
PURE_MODULES = ("engine/spec", "engine/states.py", "registry/protocol.py", "runtime/plan.py")
IMPURE = {"os", "socket", "asyncio", "subprocess", "select"}


def _modules() -> list[Path]:
    return sorted(p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or p.stem in ("errors", "version"))


def _package(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            assert node.module is not None
            if node.module == "kist":
                yield from (f"kist.{alias.name}" for alias in node.names)
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_module_imports_only_what_its_package_may(path: Path) -> None:
    package = _package(path)
    allowed = MAY[package] | EVERYBODY | {package}
    for name in _imports(path):
        if not name.startswith("kist."):
            continue
        target = name.split(".")[1]
        assert target in allowed, f"{package} must not import {name}"
        door = DOORS.get((package, target))
        assert door is None or name.startswith(door), f"{package} may enter {target} only by {door}, not {name}"


def test_every_package_is_in_the_table() -> None:
    assert {_package(p) for p in _modules()} <= set(MAY)


def _pure() -> list[Path]:
    inside = [p for package in PURE_PACKAGES for p in (SOURCE / package).rglob("*.py")]
    named = [SOURCE / name for name in PURE_MODULES]
    return inside + [p for path in named for p in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]


@pytest.mark.parametrize("path", _pure(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_pure_module_touches_no_system(path: Path) -> None:
    roots = {name.split(".")[0] for name in _imports(path)}
    assert not roots & IMPURE, f"pure module imports {roots & IMPURE}"
