"""The pages are true where a machine can tell: links and files exist, configuration and command lines are taken."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from kist.cli.__main__ import load
from kist.cli.parser import Command, parse
from kist.cli.words import ALSO, MODULES, NOUNS
from kist.engine import config as configuration

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
# `store/content.py`, `tests/house/test_walk.py`, docs/health.md
FILE = re.compile(r"`([\w./-]+\.(?:py|md))`|(?<![\w`/.])(docs/[\w/-]+\.md)")
FILES = [str(path.relative_to(ROOT)) for tree in ("src", "tests", "docs", "bench", "scripts")
         for path in (ROOT / tree).rglob("*") if path.suffix in (".py", ".md")]
CODE = re.compile(r"^( *)```\w*\n(.*?)^\1```$|((?:^ {4}kist .*\n)+)", re.MULTILINE | re.DOTALL)
PROGRAMS = {"hub", "server", "oci"}  # they have parsers of their own


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_files_are_there(page: Path) -> None:
    text = page.read_text()
    for link in LINK.findall(text):
        assert "://" in link or (page.parent / link).exists(), link
    for found in FILE.findall(text):
        file = "".join(found)
        assert any(f"/{there}".endswith(f"/{file}") for there in FILES), file


def test_the_readme_leads_to_every_page() -> None:
    linked = {(ROOT / link).resolve() for link in LINK.findall((ROOT / "README.md").read_text()) if "://" not in link}
    for page in PAGES:
        assert page.resolve() in linked or page.parent.resolve() in linked or page.name == "README.md", name(page)


def test_the_configuration_is_taken_and_whole() -> None:
    """The page's file is a valid one, with every key there is."""
    blocks = [body for _, body, _ in CODE.findall((ROOT / "docs/configuration.md").read_text()) if "[network]" in body]
    assert len(blocks) == 1
    table = tomllib.loads(blocks[0])
    given = configuration.parse(table)
    configuration.Config(**given)
    missing = {field.name for field in fields(configuration.Config)} - set(given)
    assert not missing, missing
    examples = {field.name for field in fields(configuration.Config)
                if given[field.name] != getattr(configuration.Config(), field.name)}
    assert examples == {"subnet6", "dns", "dns_search", "dns_options", "pools", "host_gateway_ips", "storage_max",
                        "registries", "http_proxy", "https_proxy", "no_proxy", "hub_url", "hub_library"}
    assert set(table["registries"]["docker.io"]) >= {"mirrors", "insecure", "ca", "cert", "key", "proxy"}


def command_lines(page: Path) -> Iterator[str]:
    """The lines of a page's blocks that call kist; comments and prompts off, continued ones joined."""
    for _, fenced, indented in CODE.findall(page.read_text()):
        for line in (fenced or indented).replace("\\\n", " ").splitlines():
            words = re.sub(r"\s{2,}(#| for |the same).*", "", line.strip()).removeprefix("$ ")
            words = re.sub(r"\$\(.*?\)", "words", words.partition("  ")[0])
            if words.startswith("kist ") and "…" not in words:
                yield words


LINES = sorted({line for page in PAGES for line in command_lines(page)})


@pytest.mark.parametrize("line", LINES)
def test_command_lines_are_taken(line: str) -> None:
    """Each command that the pages show exists, with its options, by the command line's own parser."""
    for part in re.split(r" (?:&&|\||<|>) ", line):
        words = shlex.split(part)
        if words[0] == "kist" and words[1] not in PROGRAMS:
            command, rest = _command(words[1:])
            parse("kist", command, rest)


def _command(words: list[str]) -> tuple[Command, list[str]]:
    if words[0] in NOUNS:
        verb = ALSO.get((words[0], words[1]), words[1])
        return load(NOUNS[words[0]][1][verb]), words[2:]
    return load(MODULES[words[0]]), words[1:]


def test_there_are_lines() -> None:
    """The blocks are found: else the test above would hold of nothing."""
    assert len(LINES) > 30, LINES
