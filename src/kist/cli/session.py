"""What a command works with: the settings, the server (started when there is none), stdout and stderr."""

from __future__ import annotations

import sys

from kist.cli.parser import CliError
from kist.client.client import Client, NoServer, StreamError
from kist.client.transport import Connection, ProtocolError
from kist.errors import InvalidParameter, KistError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kist.cli.parser import Arguments
    from kist.cli.settings import Settings
    from kist.client.client import Exchange
    from kist.client.transport import Response

ENOENT, EACCES, ECONNREFUSED = 2, 13, 111
AT_ONCE = 32  # requests under way for a command with many names


class LocalClient(Client):
    """A client that starts the server, once, when nobody listens at the default place."""

    starter: Callable[[], None] | None = None

    def connect(self) -> Connection:
        try:
            return super().connect()
        except NoServer as error:
            if self.starter is None or error.errno not in (ENOENT, ECONNREFUSED):
                raise
        starter, self.starter = self.starter, None
        starter()
        return super().connect()


class Session:
    """One run of the command line."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client: LocalClient | None = None

    @property
    def client(self) -> Client:
        """The server; connected to on the first request."""
        if self._client is None:
            try:
                address = self.settings.address()
            except InvalidParameter as error:
                raise CliError(error.message) from None
            self._client = LocalClient(address, version=self.settings.api_version)
            if self.settings.may_start_server:
                self._client.starter = self._start_server
        return self._client

    def _start_server(self) -> None:
        from kist.cli.autostart import start_server

        self.warn(start_server(self.settings))

    def out(self, text: str) -> None:
        """One line on stdout."""
        sys.stdout.write(text + "\n")

    def write(self, text: str) -> None:
        """Text on stdout as it is."""
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()

    def warn(self, text: str) -> None:
        """One line on stderr, behind what stdout has so far."""
        sys.stdout.flush()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def each(self, names: Sequence[str], ask: Callable[[str], Exchange],
             tell: Callable[[str, Response], str] | None = None, summary: str = "") -> int:
        """Ask the same for each name, many at a time; print the names (or what `tell` says) that worked, then
        what went wrong, and the names that did behind `summary`. The exit status."""
        problems, failed = [], []
        for start in range(0, len(names), AT_ONCE):
            part = names[start:start + AT_ONCE]
            for name, sent in [(name, ask(name)) for name in part]:
                try:
                    answer = sent.answer()
                    told = tell(name, answer) if tell else name
                    answer.read()
                except KistError as error:
                    problems.append(said(error))
                    failed.append(name)
                else:
                    self.out(told)
        if problems:
            raise CliError("\n".join(problems + [summary + ", ".join(failed)] * bool(summary)))
        return 0


def said(error: KistError) -> str:
    """An error as the user reads it: what the server said is marked as that."""
    if isinstance(error, (NoServer, ProtocolError, StreamError)):
        return error.message
    return f"Error response from daemon: {error.message}"


def parsed(error: KistError) -> str:
    """The same where Docker's client parses the image's name by itself: then a wrong one is no daemon's answer."""
    return error.message if error.message.startswith("invalid reference format") else said(error)


def parsing(run: Callable[[Arguments, Session], int]) -> Callable[[Arguments, Session], int]:
    """The command *run* of those that do so: `parsed`."""
    def checked(args: Arguments, session: Session) -> int:
        try:
            return run(args, session)
        except InvalidParameter as error:
            raise CliError(parsed(error)) from None

    return checked


def no_server(settings: Settings, error: NoServer) -> str:
    """Why the server can't be reached, and what to do."""
    place = settings.address().text
    if error.errno == EACCES:
        return (f"permission denied while trying to connect to the Kist server at {place}: run it as root, or as "
                "a member of the group kist")
    if error.errno in (ENOENT, ECONNREFUSED):
        return f"Cannot connect to the Kist server at {place}. Is it running? (kist server)"
    return error.message
