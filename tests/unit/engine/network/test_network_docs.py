"""docs/networking.md lists the rules of the packet filter: those that are really made, all of them, in their order."""

from __future__ import annotations

import re
from pathlib import Path

from kist.engine.network.firewall import Rules

PAGE = Path(__file__).parents[4] / "docs/networking.md"
ROW = re.compile(r"^\| (?:`(\w+)`)? ?\| `(.+?)` \| (.+) \|$")
Chains = dict[str, list[str]]


def documented() -> dict[str, Chains]:
    """table → chain → rules, as the page has them."""
    found: dict[str, Chains] = {}
    table = chain = ""
    for line in PAGE.read_text().partition("## The rules")[2].splitlines():
        if line.startswith("`table "):
            table = line.split("`")[1].removeprefix("table ")
            found[table] = {}
        elif match := ROW.match(line):
            chain = match[1] or chain
            found[table].setdefault(chain, []).append(match[2])
    return found


def made() -> dict[str, Chains]:
    """The same of the commands for a new host."""
    found: dict[str, Chains] = {}
    table = chain = ""
    for line in map(str.strip, Rules("kist", "kist0-o", "kist0-i").tables().splitlines()):
        word, _, rest = line.partition(" ")
        if word == "table":
            table = rest.removesuffix(" {")
            found[table] = {}
        elif word == "chain":
            chain = rest.removesuffix(" {")
            found[table][chain] = []
        elif chain and line not in ("", "}") and word not in ("type", "set", "map"):
            found[table][chain].append(line)
    return found


def test_the_page_has_every_rule_and_no_other() -> None:
    page, rules = documented(), made()
    ip6 = {chain: [line.replace("fe80::88:2", "169.254.88.2").replace("ip6 ", "ip ") for line in lines]
           for chain, lines in rules.pop("ip6 kist").items()}
    assert ip6 == rules["ip kist"]  # the page shows one for both
    assert page == rules


def test_the_page_gives_a_reason_for_each() -> None:
    rows = [match for line in PAGE.read_text().partition("## The rules")[2].splitlines() if (match := ROW.match(line))]
    assert len(rows) == sum(len(rules) for chains in documented().values() for rules in chains.values()) >= 40
    assert all(len(row[3]) > 3 for row in rows)


def test_what_holds_each_promise_is_there() -> None:
    """The table of tests names files and functions that are."""
    table = PAGE.read_text().partition("## What each promise is held by")[2]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    named = [re.findall(r"`(tests/\S+?\.py)`: ((?:`test_\w+`(?:, )?)+)", row[-1]) for row in rows]
    assert len(rows) > 20
    assert all(named)
    for file, names in (one for row in named for one in row):
        there = re.findall(r"^(?:async )?def (test_\w+)\(", (PAGE.parents[1] / file).read_text(), re.MULTILINE)
        assert set(re.findall(r"test_\w+", names)) <= set(there), file
    assert sum(len(row[-1].split("`test_")) - 1 for row in rows) == sum(
        names.count("`test_") for row in named for _, names in row)
