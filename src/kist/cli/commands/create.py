"""kist create: make a container, and leave it at that."""

from __future__ import annotations

from kist.cli.container_options import CONTAINER_OPTIONS
from kist.cli.creating import create
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    session.out(create(args, session))
    return 0


COMMAND = Command(
    "Create a new container", "[OPTIONS] IMAGE [COMMAND] [ARG...]", run, options=CONTAINER_OPTIONS,
    arity=(1, None), interspersed=False, requests=("ContainerCreate", "ImageCreate"))
