"""kist login: keep credentials for a registry, once the registry has accepted them."""

from __future__ import annotations

import sys

from kist.cli.credentials import keep, key_of
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    registry = (args.words[0] if args.words else "docker.io").removeprefix("https://").removeprefix("http://")
    registry = registry.partition("/")[0]
    user, password = _asked(args, session)
    told = session.client.system.auth({"username": user, "password": password, "serveraddress": key_of(registry)})
    keep(session.settings, registry, user, password, str(told.get("IdentityToken") or ""))
    session.out(told.get("Status") or "Login Succeeded")
    return 0


def _asked(args: Arguments, session: Session) -> tuple[str, str]:
    """User and password: from the options, from stdin, or asked for on the terminal."""
    user, password = args.text("username"), args.text("password")
    if args.flag("password-stdin"):
        if args.given("password"):
            raise CliError("conflicting options: cannot specify both --password and --password-stdin")
        if not user:
            raise CliError("the --password-stdin option requires --username to be set")
        return user, sys.stdin.read().rstrip("\r\n")
    if args.given("password"):
        session.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if not (user and password):
        if not sys.stdin.isatty():
            raise CliError("Error: Cannot perform an interactive login from a non TTY device")
        from getpass import getpass

        user = user or input("Username: ").strip()
        password = password or getpass("Password: ")
    if not user or not password:
        raise CliError("Error: username and password are required")
    return user, password


COMMAND = Command(
    "Authenticate to a registry", "[OPTIONS] [SERVER]", run, arity=(0, 1),
    options=(
        ("password", "p", "string", "Password or token"),
        ("password-stdin", "", "", "Read the password or token from STDIN"),
        ("username", "u", "string", "User name"),
    ),
    requests=("SystemAuth",))
