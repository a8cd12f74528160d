"""The command line's grammar (that of Docker's own parser, pflag), and commands as data.

A command is a table of options; one row is ``(name, short, kind, help[, default])``::

    ("env",      "e", "list", "Set environment variables")
    ("sig-proxy", "", "",     "Proxy received signals to the process", True)
    ("net",       "", "=network", "")                # another name for --network; no help text: not listed
    ("time",      "", "=timeout", "", True)          # the same, and whoever uses it is told that it is old

`kind` is the word that `--help` shows behind the option: "" is a switch; "list", "map" and their like may
be given many times; the others hold one value, the last one given. Grammar::

    --name value   --name=value   --rm   --rm=false   -e A=1   -eA=1   -e=A=1   -itd   --   (ends the options)

`argparse` costs 6 ms to import and can't do half of that; this module and a table cost 0.3 ms.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from kist.cli.session import Session

    Option = tuple[str, str, str, str] | tuple[str, str, str, str, Any]

REPEATED = frozenset(("list", "map", "filter", "mount", "network", "ulimit", "gpu-request", "strings"))
TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
HELP: Option = ("help", "", "", "Print usage")


class CliError(Exception):
    """A message for stderr and the exit status that goes with it."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class HelpWanted(Exception):
    """`--help` was given."""


class Command:
    """One command: its grammar, and the function that does it."""

    __slots__ = ("arity", "interspersed", "options", "requests", "run", "summary", "usage", "verbatim")

    def __init__(self, summary: str, usage: str, run: Callable[[Arguments, Session], int], *,
                 options: tuple[Option, ...] = (), arity: tuple[int, int | None] = (0, 0),
                 interspersed: bool = True, verbatim: bool = False, requests: tuple[str, ...] = ()) -> None:
        self.summary = summary
        self.usage = usage  # what follows the command's name in its usage line
        self.run = run
        self.options = options
        self.arity = arity  # how many words it takes: least, most (None: no bound)
        self.interspersed = interspersed  # options may follow the first word
        self.verbatim = verbatim  # every word is passed on as it is, --help as well
        self.requests = requests  # the API operations it lives on, as the route table names them


class Arguments:
    """What was given: `words`, and the options by name."""

    __slots__ = ("command", "path", "values", "words")

    def __init__(self, path: str, command: Command) -> None:
        self.path = path  # "kist container run", as it was typed
        self.command = command
        self.values: dict[str, Any] = {}
        self.words: list[str] = []

    def given(self, name: str) -> bool:
        """Whether the option was on the command line."""
        return name in self.values

    def _value(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        # An option that this command doesn't have (shared code asks for those of `run`) was not given either.
        return next((row[4] for row in self.command.options if row[0] == name and len(row) > 4), None)

    def flag(self, name: str) -> bool:
        """A switch."""
        return bool(self._value(name))

    def text(self, name: str) -> str:
        """A text; "" when it was not given and has no default."""
        value = self._value(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> int | None:
        """A number, in the unit of its kind (bytes: 1, duration: nanoseconds, decimal: 1e-9)."""
        value = self._value(name)
        return None if value is None else int(value)

    def list(self, name: str) -> list[str]:
        """Every value of an option that may be given many times."""
        return list(self.values.get(name, ()))


def parse(path: str, command: Command, words: list[str]) -> Arguments:
    """Read the words behind a command's name; CliError as Docker words it, HelpWanted for `--help`."""
    args = Arguments(path, command)
    if command.verbatim:
        args.words = words
        return args
    by_name = {row[0]: row for row in command.options}
    by_short = {row[1]: row for row in command.options if row[1]}
    by_name.setdefault("help", HELP)
    at, end = 0, len(words)
    try:
        while at < end:
            word = words[at]
            at += 1
            if word[:1] != "-" or word == "-":
                args.words.append(word)
                if not command.interspersed:
                    args.words.extend(words[at:])
                    break
            elif word == "--":
                args.words.extend(words[at:])
                break
            elif word[1] == "-":
                at = _long(args, by_name, word, words, at)
            else:
                at = _short(args, by_short, by_name, word, words, at)
    except _Wrong as wrong:
        raise CliError(f"{wrong}\n\n{usage_line(path, command)}\n\n{see(path)}", 125) from None
    if args.values.pop("help", None):
        raise HelpWanted
    _check_arity(args)
    return args


class _Wrong(Exception):
    """What is wrong with an option."""


def _long(args: Arguments, by_name: dict[str, Option], word: str, words: list[str], at: int) -> int:
    name, mark, value = word[2:].partition("=")
    row = by_name.get(name)
    if row is None:
        raise _Wrong(f"bad flag syntax: {word}" if not name else f"unknown flag: --{name}")
    if len(row) > 4 and row[2][:1] == "=":
        print(f"Flag --{name} has been deprecated, use --{row[2][1:]} instead")
    if not mark:
        if _resolve(row, by_name)[2] == "":
            value = "true"
        elif at < len(words):
            value = words[at]
            at += 1
        else:
            raise _Wrong(f"flag needs an argument: --{name}")
    _set(args, _resolve(row, by_name), value)
    return at


def _short(args: Arguments, by_short: dict[str, Option], by_name: dict[str, Option], word: str,
           words: list[str], at: int) -> int:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        row = by_short.get(letter)
        if row is None:
            if letter == "h":
                raise HelpWanted
            raise _Wrong(f"unknown shorthand flag: {letter!r} in -{letter}{letters}")
        row = _resolve(row, by_name)
        if letters[:1] == "=" and len(letters) > 1:
            _set(args, row, letters[1:])
            return at
        if row[2] == "":
            _set(args, row, "true")
            continue
        if letters:
            _set(args, row, letters)
        elif at < len(words):
            _set(args, row, words[at])
            at += 1
        else:
            raise _Wrong(f"flag needs an argument: {letter!r} in -{letter}")
        return at
    return at


def _resolve(row: Option, by_name: dict[str, Option]) -> Option:
    """The option that a row is another name of."""
    return by_name[row[2][1:]] if row[2][:1] == "=" else row


def _set(args: Arguments, row: Option, value: str) -> None:
    name, short, kind = row[0], row[1], row[2]
    try:
        if kind in REPEATED:
            args.values.setdefault(name, []).extend(value.split(",") if kind == "strings" else (value,))
        elif kind == "string":
            args.values[name] = value
        elif kind == "":
            args.values[name] = _truth(value)
        else:
            from kist.cli.values import KINDS

            convert = KINDS.get(kind)
            args.values[name] = convert(value) if convert else value
    except ValueError as error:
        shown = f"-{short}, --{name}" if short else f"--{name}"
        raise _Wrong(f'invalid argument "{value}" for "{shown}" flag: {error}') from None


def _truth(value: str) -> bool:
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def usage_line(path: str, command: Command) -> str:
    return f"Usage:  {path} {command.usage}".rstrip()


def see(path: str, verb: str = "Run") -> str:
    return f"{verb} '{path} --help' for more information"


def _check_arity(args: Arguments) -> None:
    least, most = args.command.arity
    count = len(args.words)
    if count >= least and (most is None or count <= most):
        return
    verb = "Run"
    if most == 0:
        problem = "accepts no arguments"
    elif least == most:
        problem = f"requires {_count(least)}"
    elif most is None:
        problem, verb = f"requires at least {_count(least)}", "See"
    elif least == 0:
        problem = f"requires at most {_count(most)}"
    else:
        problem = f"requires at least {least} and at most {_count(most)}"
    raise CliError(f"kist: '{args.path}' {problem}\n\n{usage_line(args.path, args.command)}\n\n"
                   f"{see(args.path, verb)}")


def _count(number: int) -> str:
    return f"{number} argument" if number == 1 else f"{number} arguments"
