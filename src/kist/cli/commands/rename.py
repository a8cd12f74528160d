"""kist rename: give a container another name."""

from __future__ import annotations

from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    old, new = (word.strip() for word in args.words)
    if not old or not new:
        raise CliError("Error: Neither old nor new names may be empty")
    session.client.containers.rename(old, new)
    return 0


COMMAND = Command("Rename a container", "CONTAINER NEW_NAME", run, arity=(2, 2), requests=("ContainerRename",))
