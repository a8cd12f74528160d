"""Options of one command, by a table. argparse would cost as long as making a container.

    TABLE = {"bundle": Option("b", STRING), "detach": Option("d", FLAG), …}

Go's flag package (runc) takes one dash as two: ``-bundle X``, ``--bundle=X`` and ``-b X`` are the same. Options
end at the first word that is none, or at ``--``.
"""

from __future__ import annotations

FLAG, STRING, LIST, NUMBER = "flag", "string", "list", "number"


class Usage(Exception):
    """The command line is wrong."""


class HelpWanted(Exception):
    """``--help`` or ``-h`` among a command's options."""

    def __init__(self, table: dict[str, Option]) -> None:
        self.table = table


class Option:
    __slots__ = ("kind", "short")

    def __init__(self, short: str, kind: str) -> None:
        self.short = short
        self.kind = kind


class Parsed:
    """The values by name, and the words that are left."""

    def __init__(self) -> None:
        self.rest: list[str] = []
        self.given: dict[str, object] = {}
        self.environment: dict[str, str] = {}  # of the command; filled in where that may be read

    def string(self, name: str) -> str:
        return str(self.given.get(name) or "")

    def flag(self, name: str) -> bool:
        return bool(self.given.get(name))

    def number(self, name: str) -> int:
        value = self.given.get(name)
        return int(value) if isinstance(value, int) else 0

    def list(self, name: str) -> list[str]:
        value = self.given.get(name)
        return [str(item) for item in value] if isinstance(value, list) else []


def parse(table: dict[str, Option], words: list[str]) -> Parsed:
    parsed = Parsed()
    shorts = {option.short: name for name, option in table.items() if option.short}
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            position += 1
            break
        if not word.startswith("-") or word == "-":
            break
        position += 1
        name, equals, value = word.lstrip("-").partition("=")
        name = shorts.get(name, name)
        option = table.get(name)
        if option is None and name in ("help", "h"):
            raise HelpWanted(table)
        if option is None:
            raise Usage(f"flag provided but not defined: -{name}")
        if option.kind == FLAG:
            parsed.given[name] = value not in ("false", "0", "f", "F", "FALSE", "False")
            continue
        if not equals:
            if position >= len(words):
                raise Usage(f"flag needs an argument: -{name}")
            value = words[position]
            position += 1
        _store(parsed, name, option, value)
    parsed.rest = words[position:]
    return parsed


def _store(parsed: Parsed, name: str, option: Option, value: str) -> None:
    if option.kind == LIST:
        parsed.given[name] = [*parsed.list(name), value]
    elif option.kind == NUMBER:
        try:
            parsed.given[name] = int(value, 0)
        except ValueError:
            raise Usage(f"invalid value {value!r} for flag -{name}: not a number") from None
    else:
        parsed.given[name] = value
