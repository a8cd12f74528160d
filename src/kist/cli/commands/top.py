"""kist top: the processes of a container."""

from __future__ import annotations

from kist.cli.output import table
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    found = session.client.containers.top(args.words[0], " ".join(args.words[1:]))
    lines = [found["Titles"], *(found["Processes"] or [])]
    session.write(table(["\t".join(line) for line in lines], least=20))
    return 0


COMMAND = Command("Display the running processes of a container", "CONTAINER [ps OPTIONS]", run, arity=(1, None),
                  interspersed=False, requests=("ContainerTop",))
