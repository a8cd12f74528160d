"""kist restart: stop containers and start them again."""

from __future__ import annotations

from kist.cli.commands.stop import OPTIONS
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    query = {"t": args.number("timeout"), "signal": args.text("signal")}
    return session.each(args.words, lambda name: session.client.containers.send_post(name, "restart", query))


COMMAND = Command("Restart one or more containers", "[OPTIONS] CONTAINER [CONTAINER...]", run, options=OPTIONS,
                  arity=(1, None), requests=("ContainerRestart",))
