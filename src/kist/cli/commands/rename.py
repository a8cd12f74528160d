"""kist rename: give a container another name."""

from __future__ import annotations

from kist.cli.parser import CliError, Command
from kist.cli.session import said
from kist.errors import KistError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    old, new = (word.strip() for word in args.words)
    if not old or not new:
        raise CliError("Error: Neither old nor new names may be empty")
    try:
        session.client.containers.rename(old, new)
    except KistError as error:
        raise CliError(f"{said(error)}\nError: failed to rename container named {old}") from None
    return 0


COMMAND = Command("Rename a container", "CONTAINER NEW_NAME", run, arity=(2, 2), requests=("ContainerRename",))
