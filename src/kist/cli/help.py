"""`--help`: texts made from the command tables, in Docker's layout."""

from __future__ import annotations

import sys

from kist.cli.__main__ import KIST, load
from kist.cli.parser import HELP, CliError, Command
from kist.cli.words import ALSO, COMMON, MODULES, NOT_YET, NOUNS, OTHERS, PROGRAMS, UNLISTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Option


def show_help(words: list[str], columns: int) -> int:
    """Print the help of Kist, of a noun, or of a command; the exit status."""
    words = [*words[:1], *(ALSO.get((words[0], verb), verb) for verb in words[1:])]
    path = " ".join(["kist", *words])
    if not words:
        text = _all(columns)
    elif words[0] in NOUNS:
        summary, verbs = NOUNS[words[0]]
        if len(words) == 1:
            text = _noun(words[0], summary, verbs)
        elif words[1] in verbs:
            text = _command(path, load(verbs[words[1]]), columns)
        else:
            raise CliError(f"unknown help topic: {' '.join(words)}")
    elif words[0] in MODULES and len(words) == 1:
        text = _command(path, load(MODULES[words[0]]), columns)
    else:
        raise CliError(f"unknown help topic: {' '.join(words)}")
    sys.stdout.write(text)
    return 0


def _all(columns: int) -> str:
    groups = [f"Usage:  kist {KIST.usage}\n\n{KIST.summary}\n"]
    for title, table in (("Common Commands", COMMON), ("Programs", PROGRAMS)):
        groups.append(f"{title}:\n{_list({word: load(place).summary for word, place in _offered(table)})}")
    nouns = {noun: summary for noun, (summary, _) in NOUNS.items()}
    groups.append(f"Management Commands:\n{_list(nouns)}")
    groups.append(f"Commands:\n{_list({word: load(place).summary for word, place in _offered(OTHERS)})}")
    groups.append(f"Global Options:\n{options_text(KIST.options, columns)}")
    return "\n".join(groups) + "\nRun 'kist COMMAND --help' for more information on a command.\n"


def _offered(table: dict[str, str], noun: str = "") -> list[tuple[str, str]]:
    return [(word, place) for word, place in table.items()
            if f"{noun} {word}".strip() not in NOT_YET | UNLISTED]


def _noun(noun: str, summary: str, verbs: dict[str, str]) -> str:
    listed = _list({word: load(place).summary for word, place in _offered(verbs, noun)})
    return (f"Usage:  kist {noun} COMMAND\n\n{summary}\n\nCommands:\n{listed}\n"
            f"Run 'kist {noun} COMMAND --help' for more information on a command.\n")


def _list(summaries: dict[str, str]) -> str:
    width = max(map(len, summaries), default=0)
    return "".join(f"  {word:<{width}}  {summary}\n" for word, summary in summaries.items())


def _command(path: str, command: Command, columns: int) -> str:
    text = f"Usage:  {path} {command.usage}".rstrip() + f"\n\n{command.summary}\n"
    aliases = _aliases(path, command)
    if len(aliases) > 1:
        text += f"\nAliases:\n  {', '.join(aliases)}\n"
    if command.options:
        text += f"\nOptions:\n{options_text(command.options, columns)}"
    return text


def _aliases(path: str, command: Command) -> list[str]:
    """All paths that lead to a command, the noun's first."""
    words = path.split()[1:]
    place = NOUNS[words[0]][1][words[1]] if words[0] in NOUNS else MODULES[words[0]]
    found = []
    for noun, (_, verbs) in NOUNS.items():
        for verb in (verb for verb in verbs if verbs[verb] == place):
            others = (other for (of, other), meant in ALSO.items() if (of, meant) == (noun, verb))
            found += [f"kist {noun} {word}" for word in (verb, *others)]
    return found + [f"kist {word}" for word in MODULES if MODULES[word] == place]


def options_text(options: tuple[Option, ...], columns: int) -> str:
    """`  -e, --env list   Set environment variables`, wrapped."""
    rows = []
    for row in (*options, *(() if any(row[0] == "help" for row in options) or not _has_h(options) else (HELP,))):
        name, short, kind, text = row[:4]
        if not text:
            continue
        if len(row) > 4 and row[4] not in (None, False, ""):
            text += f" (default {_default(kind, row[4])})"
        shown = {"swap-bytes": "bytes"}.get(kind, kind)
        rows.append((f"  {'-' + short + ', ' if short else '    '}--{name}{' ' + shown if shown else ''}", text))
    width = max((len(left) for left, _ in rows), default=0) + 3
    return "".join(_wrapped(left, text, width, columns) for left, text in rows)


def _default(kind: str, value: object) -> str:
    if kind == "duration" and isinstance(value, int):
        return f"{value / 1e9:g}s"  # tables have nanoseconds
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _has_h(options: tuple[Option, ...]) -> bool:
    return any(row[1] == "h" for row in options)


def _wrapped(left: str, text: str, width: int, columns: int) -> str:
    import textwrap

    lines = textwrap.wrap(text, max(columns - width, 24)) or [""]
    first = f"{left:<{width}}{lines[0]}\n"
    return first + "".join(" " * width + line + "\n" for line in lines[1:])
