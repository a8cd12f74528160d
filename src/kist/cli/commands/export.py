"""kist export: a container's file system as a tar archive."""

from __future__ import annotations

from kist.cli.files import check_output, write_archive
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    check_output(args.text("output"), "failed to export container")
    write_archive(session.client.containers.export(args.words[0]).chunks(), args.text("output"))
    return 0


COMMAND = Command("Export a container's filesystem as a tar archive", "[OPTIONS] CONTAINER", run, arity=(1, 1),
                  options=(("output", "o", "string", "Write to this file, not to STDOUT"),),
                  requests=("ContainerExport",))
