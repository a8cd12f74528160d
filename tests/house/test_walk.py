"""docs/walk/run.md is true: every function that it names stands in the file that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WALK = ROOT / "docs" / "walk" / "run.md"
# `engine/start.py:start` or `runtime/create.py:Created.start`
STEP = re.compile(r"`([a-z_/]+\.py):([A-Za-z_.]+)`")
STORY_LINES = 40
_NAMED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def steps() -> list[tuple[str, str]]:
    return sorted(set(STEP.findall(WALK.read_text())))


def _find(tree: ast.Module, dotted: str) -> ast.AST | None:
    scope: ast.AST = tree
    for name in dotted.split("."):
        found = [n for n in getattr(scope, "body", []) if isinstance(n, _NAMED) and n.name == name]
        if not found:
            return None
        scope = found[0]
    return scope


def test_the_walk_names_the_whole_way() -> None:
    packages = {file.split("/")[0] for file, _ in steps()}
    assert packages >= {"cli", "client", "server", "engine", "registry", "store", "launcher", "runtime", "linux"}


@pytest.mark.parametrize(("file", "name"), steps(), ids=lambda v: v)
def test_every_function_of_the_walk_is_there_and_short(file: str, name: str) -> None:
    path = ROOT / "src" / "kist" / file
    assert path.is_file(), f"no {file}"
    found = _find(ast.parse(path.read_text()), name)
    assert found is not None, f"no {name} in {file}"
    if not isinstance(found, ast.ClassDef):
        length = (getattr(found, "end_lineno", 0) or 0) - getattr(found, "lineno", 0) + 1
        assert length <= STORY_LINES, f"{name} has {length} lines: a story function stays under {STORY_LINES}"
