"""kist kill: send a signal, SIGKILL unless told."""

from __future__ import annotations

from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    query = {"signal": args.text("signal")}
    return session.each(args.words, lambda name: session.client.containers.send_post(name, "kill", query))


COMMAND = Command("Kill one or more running containers", "[OPTIONS] CONTAINER [CONTAINER...]", run,
                  options=(("signal", "s", "string", "Signal to send"),), arity=(1, None),
                  requests=("ContainerKill",))
