"""Docker's grammar, case by case (`test_as_docker.py` compares with the real one)."""

from __future__ import annotations

from typing import Any

import pytest

from kist.cli.help import options_text
from kist.cli.parser import CliError, Command, HelpWanted, parse

OPTIONS: tuple[Any, ...] = (
    ("detach", "d", "", ""), ("env", "e", "list", ""), ("interactive", "i", "", ""), ("memory", "m", "bytes", ""),
    ("name", "", "string", ""), ("net", "", "=network", ""), ("network", "", "network", ""),
    ("sig-proxy", "", "", "", True), ("tags", "", "strings", ""), ("time", "t", "int", ""),
)
STOPS = Command("", "[OPTIONS] IMAGE", lambda args, session: 0, options=OPTIONS, arity=(0, None), interspersed=False)
MIXED = Command("", "[OPTIONS] IMAGE", lambda args, session: 0, options=OPTIONS, arity=(0, None))


def read(line: str, command: Command = STOPS) -> tuple[dict[str, Any], list[str]]:
    args = parse("kist x", command, line.split())
    return args.values, args.words


@pytest.mark.parametrize(("line", "values", "words"), [
    ("img -d --name x", {}, ["img", "-d", "--name", "x"]),
    ("-d img -d", {"detach": True}, ["img", "-d"]),
    ("-di img", {"detach": True, "interactive": True}, ["img"]),
    ("-dit5 img", {"detach": True, "interactive": True, "time": 5}, ["img"]),
    ("-eA=1 -e B=2 -e=C=3 --env D --env=E=5 img", {"env": ["A=1", "B=2", "C=3", "D", "E=5"]}, ["img"]),
    ("-de A=1 img", {"detach": True, "env": ["A=1"]}, ["img"]),
    ("--name=x=y img", {"name": "x=y"}, ["img"]),
    ("--name= img", {"name": ""}, ["img"]),
    ("--name -d img", {"name": "-d"}, ["img"]),
    ("-d=false img", {"detach": False}, ["img"]),
    ("--detach=F img", {"detach": False}, ["img"]),
    ("--detach true img", {"detach": True}, ["true", "img"]),
    ("--sig-proxy=false img", {"sig-proxy": False}, ["img"]),
    ("-- -d img", {}, ["-d", "img"]),
    ("- -d", {}, ["-", "-d"]),
    ("--net a --network b img", {"network": ["a", "b"]}, ["img"]),
    ("--tags a,b --tags c img", {"tags": ["a", "b", "c"]}, ["img"]),
    ("-m 1.5g img", {"memory": 1610612736}, ["img"]),
    ("-t -5 img", {"time": -5}, ["img"]),
])
def test_options_before_the_image(line: str, values: dict[str, Any], words: list[str]) -> None:
    assert read(line) == (values, words)


def test_options_behind_words() -> None:
    assert read("img -d -- -i", MIXED) == ({"detach": True}, ["img", "-i"])


@pytest.mark.parametrize(("line", "message"), [
    ("--foo img", "unknown flag: --foo"),
    ("--foo=1 img", "unknown flag: --foo"),
    ("-dz img", "unknown shorthand flag: 'z' in -z"),
    ("--name", "flag needs an argument: --name"),
    ("-de", "flag needs an argument: 'e' in -e"),
    ("--detach=x img", 'invalid argument "x" for "-d, --detach" flag: strconv.ParseBool: parsing "x": invalid syntax'),
    ("-m x img", "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"),
    ("-t 1x img", 'invalid argument "1x" for "-t, --time" flag: strconv.ParseInt: parsing "1x": invalid syntax'),
])
def test_what_is_wrong_is_said_as_docker_says_it(line: str, message: str) -> None:
    with pytest.raises(CliError) as caught:
        read(line)
    assert str(caught.value) == (f"{message}\n\nUsage:  kist x [OPTIONS] IMAGE\n\n"
                                 "Run 'kist x --help' for more information")
    assert caught.value.status == 125


@pytest.mark.parametrize(("arity", "words", "problem"), [
    ((1, None), [], "'kist x' requires at least 1 argument\n\nUsage:  kist x U\n\nSee "),
    ((2, None), ["a"], "'kist x' requires at least 2 arguments\n\nUsage:  kist x U\n\nSee "),
    ((0, 0), ["a"], "'kist x' accepts no arguments\n\nUsage:  kist x U\n\nRun "),
    ((1, 1), ["a", "b"], "'kist x' requires 1 argument\n\nUsage:  kist x U\n\nRun "),
    ((1, 2), [], "'kist x' requires at least 1 and at most 2 arguments\n\nUsage:  kist x U\n\nRun "),
    ((0, 1), ["a", "b"], "'kist x' requires at most 1 argument\n\nUsage:  kist x U\n\nRun "),
])
def test_too_many_words_and_too_few(arity: tuple[int, int | None], words: list[str], problem: str) -> None:
    with pytest.raises(CliError) as caught:
        parse("kist x", Command("", "U", lambda args, session: 0, arity=arity), words)
    assert str(caught.value) == f"kist: {problem}'kist x --help' for more information"
    assert caught.value.status == 1


@pytest.mark.parametrize("line", ["--help", "-d --help", "-h", "-dh"])
def test_help(line: str) -> None:
    with pytest.raises(HelpWanted):
        read(line)


def test_defaults() -> None:
    args = parse("kist x", STOPS, [])
    assert args.flag("sig-proxy")
    assert not args.flag("detach")
    assert (args.text("name"), args.number("time"), args.list("env")) == ("", None, [])


def test_help_shows_a_default_as_it_is_written() -> None:
    """Durations are nanoseconds in the tables, and `1s` on the command line."""
    rows = (("interval", "", "duration", "How often", 1_500_000_000), ("theme", "", "string", "Colours", "auto"),
            ("size", "n", "int", "How many", 3), ("quiet", "q", "", "Say nothing", False))
    assert options_text(rows, 80).splitlines() == [
        "      --interval duration   How often (default 1.5s)", '      --theme string        Colours (default "auto")',
        "  -n, --size int            How many (default 3)", "  -q, --quiet               Say nothing"]
