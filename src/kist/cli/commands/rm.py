"""kist rm: remove containers."""

from __future__ import annotations

from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session

_GONE = "Error response from daemon: No such container: "


def run(args: Arguments, session: Session) -> int:
    force, volumes, link = args.flag("force"), args.flag("volumes"), args.flag("link")
    try:
        return session.each([name.strip("/") for name in args.words],
                            lambda name: session.client.containers.send_remove(name, force=force, volumes=volumes,
                                                                               link=link))
    except CliError as error:
        if not force or not all(line.startswith(_GONE) for line in str(error).splitlines()):
            raise
        session.warn(str(error))  # with -f what is not there is no failure, as with rm(1)
        return 0


COMMAND = Command(
    "Remove one or more containers", "[OPTIONS] CONTAINER [CONTAINER...]", run, arity=(1, None),
    options=(
        ("force", "f", "", "Remove it even when it runs (it is killed)"),
        ("link", "l", "", "Remove the link of that name"),
        ("volumes", "v", "", "Remove its anonymous volumes, too"),
    ),
    requests=("ContainerDelete",))
