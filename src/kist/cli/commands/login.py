"""kist login: keep credentials for a registry, once the registry has accepted them."""

from __future__ import annotations

import sys

from kist.cli.credentials import DOCKER, for_registry, host_of, keep, key_of
from kist.cli.parser import CliError, Command
from kist.errors import KistError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    registry = host_of(args.words[0] if args.words else DOCKER)
    user, password = _told(args, session)
    if not user and not password and _again(session, registry):
        return 0
    user, password = _asked(session, user, password)
    told = session.client.system.auth({"username": user, "password": password, "serveraddress": key_of(registry)})
    in_the_clear = keep(session.settings, registry, user, password, str(told.get("IdentityToken") or ""))
    if in_the_clear:
        session.warn(_WARNING.format(in_the_clear))
    session.out(told.get("Status") or "Login Succeeded")
    return 0


_WARNING = """
WARNING! Your credentials are stored unencrypted in '{}'.
Configure a credential helper to remove this warning. See
https://docs.docker.com/go/credential-store/
"""


def _told(args: Arguments, session: Session) -> tuple[str, str]:
    """User and password from the options and stdin."""
    user, password = args.text("username"), args.text("password")
    if args.given("password"):
        if args.flag("password-stdin"):
            raise CliError("conflicting options: cannot specify both --password and --password-stdin")
        session.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if args.flag("password-stdin"):
        if not user:
            raise CliError("the --password-stdin option requires --username to be set")
        return user, sys.stdin.read().rstrip("\r\n")
    return user, password


def _again(session: Session, registry: str) -> bool:
    """Sign in with what is kept already; False if there is nothing, or it is no longer good."""
    known = for_registry(session.settings, registry, session.warn)
    if known is None:
        return False
    user = f" [Username: {known['username']}]" if known.get("username") else ""
    session.warn(f"Authenticating with existing credentials...{user}\n\n"
                 " Info -> To login with a different account, run 'kist logout' followed by 'kist login'\n\n")
    try:
        told = session.client.system.auth(known)
    except KistError as error:
        session.warn(f"Login did not succeed, error: {error}")
        return False
    session.out(told.get("Status") or "Login Succeeded")
    return True


def _asked(session: Session, user: str, password: str) -> tuple[str, str]:
    """What is missing is asked for on the terminal."""
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
