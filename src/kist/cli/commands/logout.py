"""kist logout: forget the credentials for a registry."""

from __future__ import annotations

from kist.cli.credentials import DOCKER, forget, host_of
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    registry = host_of(args.words[0] if args.words else DOCKER)
    session.out(f"Removing login credentials for {registry}")
    forget(session.settings, registry, session.warn)
    return 0


COMMAND = Command("Log out from a registry", "[SERVER]", run, arity=(0, 1))
