"""`kist`: the global options, the word that names the command, its module, the exit status.

Start-up is the user's wait, so nothing is imported that the command doesn't need
(docs/decisions/client-start-up.md; tests/unit/cli/test_startup.py pins the list).
"""

from __future__ import annotations

import os
import sys

from kist.cli.parser import CliError, Command, HelpWanted, parse
from kist.cli.session import Session, no_server, said
from kist.cli.settings import Settings
from kist.cli.words import ALSO, MODULES, NOUNS
from kist.client.client import NoServer
from kist.errors import KistError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from kist.cli.parser import Arguments
else:
    import _signal


def _no_command(_args: Arguments, _session: Session) -> int:
    raise HelpWanted


KIST = Command(
    "A container platform in Python", "[OPTIONS] COMMAND [ARG...]", _no_command, arity=(0, None), interspersed=False,
    options=(
        ("config", "", "string", "Configuration file", "/etc/kist/config.toml"),
        ("debug", "D", "", "Show where an error comes from"),
        ("host", "H", "list", "Server to connect to (unix://, tcp://, ssh://)"),
        ("version", "v", "", "Print version information and quit"),
    ))


def execute(words: list[str], settings: Settings) -> int:
    """Do what the words say; the exit status."""
    try:
        top = parse("kist", KIST, words)
        _apply(top, settings)
        if top.flag("version"):
            return _version()
        path, command, rest = resolve(top.words)
    except HelpWanted:
        return _help([], settings)
    if command is None:
        return _help(path.split()[1:] + rest, settings)
    try:
        args = parse(path, command, rest)
    except HelpWanted:
        return _help(path.split()[1:], settings)
    return command.run(args, Session(settings))


def _apply(top: Arguments, settings: Settings) -> None:
    hosts = top.list("host")
    if len(hosts) > 1:
        raise CliError("Specify only one -H")
    if hosts:
        settings.host = hosts[0] if "://" in hosts[0] else f"tcp://{hosts[0]}"
    if top.given("config"):
        settings.config = top.text("config")
    settings.debug = top.flag("debug")


def resolve(words: list[str]) -> tuple[str, Command | None, list[str]]:
    """The command that the words name: its path, itself (None: help is wanted), the words behind it."""
    if not words:
        raise HelpWanted
    word, rest = words[0], words[1:]
    if word in MODULES:
        return f"kist {word}", load(MODULES[word]), rest
    if word == "help":
        return "kist", None, rest
    if word not in NOUNS:
        from kist.cli.missing import advice

        raise CliError(f"kist: unknown command: kist {word}\n\n{advice(word, (*MODULES, *NOUNS))}"
                       "Run 'kist --help' for more information")
    verbs = NOUNS[word][1]
    if not rest or rest[0] in ("--help", "-h"):
        return f"kist {word}", None, []
    verb = ALSO.get((word, rest[0]), rest[0])
    if verb not in verbs:
        if rest[0].startswith("-"):
            raise CliError(f"unknown flag: {rest[0]}\n\nUsage:  kist {word}\n\n"
                           f"Run 'kist {word} --help' for more information", 125)
        from kist.cli.missing import advice

        raise CliError(f"kist: unknown command: kist {word} {rest[0]}\n\nUsage:  kist {word}\n\n{advice(verb, verbs)}"
                       f"Run 'kist {word} --help' for more information")
    return f"kist {word} {rest[0]}", load(verbs[verb]), rest[1:]


def load(place: str) -> Command:
    """The command at `module` or `module:NAME` in kist.cli.commands."""
    module, _, name = place.partition(":")
    loaded = __import__(f"kist.cli.commands.{module}", fromlist=("COMMAND",))
    command = getattr(loaded, name or "COMMAND")
    assert isinstance(command, Command)
    return command


def _version() -> int:
    from kist.version import VERSION

    sys.stdout.write(f"Kist version {VERSION}\n")
    return 0


def _help(words: list[str], settings: Settings) -> int:
    from kist.cli.help import show_help

    return show_help(words, settings.columns)


def run(words: list[str], settings: Settings) -> int:
    """`execute`, with every expected failure told on stderr."""
    try:
        return execute(words, settings)
    except CliError as error:
        problem, status = str(error), error.status
    except NoServer as error:
        problem, status = no_server(settings, error), 1
    except KistError as error:
        if settings.debug:
            raise
        problem, status = said(error), 1
    sys.stdout.flush()
    if problem:
        sys.stderr.write(problem + "\n")
    return status


def main() -> None:
    """Runs, and leaves at once."""
    # As any filter: `kist logs x | head` ends silently. Sockets are written with MSG_NOSIGNAL.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    try:
        status = run(sys.argv[1:], Settings.from_process())
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    sys.stderr.flush()
    os._exit(status)  # nothing is left to tidy up: saves the interpreter's 2 ms


if __name__ == "__main__":
    main()
