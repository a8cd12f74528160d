"""kist pause: freeze all processes of containers."""

from __future__ import annotations

from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    return session.each(args.words, lambda name: session.client.containers.send_post(name, "pause"))


COMMAND = Command("Pause all processes within one or more containers", "CONTAINER [CONTAINER...]", run, arity=(1, None),
                  requests=("ContainerPause",))
