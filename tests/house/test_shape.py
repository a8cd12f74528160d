"""The shape of the source: small files, one reader of the environment, nothing left unfinished."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "kist"
LIMIT = 600
ENVIRONMENT_READERS = {"cli/settings.py", "client/environment.py"}  # of the command line, of the SDK
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")

python_files = sorted(SOURCE.rglob("*.py"))
test_files = sorted((ROOT / "tests").rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", python_files + test_files, ids=_name)
def test_no_file_is_a_hub(path: Path) -> None:
    lines = path.read_text().count("\n")
    assert lines <= LIMIT, f"{lines} lines: take it apart"


@pytest.mark.parametrize("path", python_files, ids=_name)
def test_every_module_says_what_it_is(path: Path) -> None:
    source = path.read_text()
    assert not source.strip() or ast.get_docstring(ast.parse(source)), "no module docstring"


@pytest.mark.parametrize("path", python_files, ids=_name)
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    relative = str(path.relative_to(SOURCE))
    if path.name == "__main__.py" or relative in ENVIRONMENT_READERS:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        reads = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
        assert not (reads and isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
                    and node.value.id == "os"), f"line {getattr(node, 'lineno', 0)} reads the environment"


@pytest.mark.parametrize("path", python_files, ids=_name)
def test_nothing_is_left_unfinished(path: Path) -> None:
    assert not UNFINISHED.search(path.read_text())


def test_nothing_lies_about() -> None:
    """What some command has written where it was called is no part of the project."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    assert {name.partition("/")[0] for name in listed.decode().split("\0") if name} == {
        ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "bench", "docs",
        "pyproject.toml", "requirements-dev.txt", "requirements.txt", "scripts", "src", "tests"}


def test_the_project_speaks_of_itself_alone() -> None:
    """No path of a development machine, no address of a package mirror."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    forbidden = re.compile(r"/work/(main|shared|plan)|\.library/|/root/\.pyenv|helper session", re.IGNORECASE)
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and path != Path(__file__):
            found = forbidden.search(path.read_text(errors="replace"))
            assert not found, f"{name}: {found and found.group()}"
