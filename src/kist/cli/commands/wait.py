"""kist wait: wait until containers have stopped, and print their exit statuses."""

from __future__ import annotations

from kist.cli.interactive import exit_status
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    return session.each(args.words, session.client.containers.send_wait,
                        lambda _name, answer: str(exit_status(answer)))


COMMAND = Command("Block until one or more containers stop, then print their exit codes",
                  "CONTAINER [CONTAINER...]", run, arity=(1, None), requests=("ContainerWait",))
