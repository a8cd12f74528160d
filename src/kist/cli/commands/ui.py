"""kist ui: the containers, live, in the terminal. Everything of it is in `cli/ui`."""

from __future__ import annotations

import sys

from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session

THEMES = ("auto", "dark", "light")
SECOND = 1_000_000_000


def run(args: Arguments, session: Session) -> int:
    """Look whether the server is there, as every command does; then take the terminal."""
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # Textual draws on stderr
        raise CliError("kist ui needs a terminal; kist ps and kist stats print the same")
    if args.text("theme") not in THEMES:
        raise CliError(f'invalid value "{args.text("theme")}" for "--theme": auto, dark or light', 125)
    interval = (args.number("interval") or 0) / SECOND
    if not 0.1 <= interval <= 60:
        raise CliError('invalid value for "--interval": between 100ms and 1m', 125)
    settings = session.settings
    if not settings.host:
        settings.host = settings.variable("DOCKER_HOST") or ""
    session.client.system.ping()
    from kist.cli.ui.app import UI

    UI(session.client, place=session.client.address.text, theme=_theme(args.text("theme"), session), interval=interval,
       wanted=" ".join(args.words), shell=lambda container: _shell(session, container)).run()
    return 0


def _theme(asked: str, session: Session) -> str:
    """What is asked for; else as the terminal says that it is, if it does."""
    from kist.cli.ui import look

    if session.settings.no_color:
        return look.PLAIN
    light = asked == "light" or (asked == "auto" and look.is_light(session.settings.variable("COLORFGBG") or ""))
    return "kist-light" if light else "kist-dark"


def _shell(session: Session, container: str) -> list[str]:
    """The command that gives a shell: this program's own `exec`, at the same server."""
    from kist.cli.ui.actions import SHELL

    config = ["--config", session.settings.config] if session.settings.config else []
    return [sys.executable, "-m", "kist.cli", *config, "-H", session.client.address.text, "exec", "-it", container,
            *SHELL]


COMMAND = Command(
    "Watch and control containers in the terminal", "[OPTIONS] [FILTER...]", run, arity=(0, None),
    options=(
        ("interval", "", "duration", "How often to ask for figures", SECOND),
        ("theme", "", "string", "Colours: auto, dark, light (D switches)", "auto"),
    ),
    requests=("ContainerList", "ContainerStats", "SystemEvents", "SystemInfo", "ContainerLogs"))
