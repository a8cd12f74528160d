"""kist diff: what a container changed in its file system."""

from __future__ import annotations

from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    for change in session.client.containers.changes(args.words[0]):
        session.out(f"{'CAD'[change['Kind']]} {change['Path']}")
    return 0


COMMAND = Command("Inspect changes to files or directories on a container's filesystem", "CONTAINER", run,
                  arity=(1, 1), requests=("ContainerChanges",))
