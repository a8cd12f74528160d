"""kist rm: remove containers."""

from __future__ import annotations

from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    force, volumes, link = args.flag("force"), args.flag("volumes"), args.flag("link")
    return session.each([name.strip("/") for name in args.words],
                        lambda name: session.client.containers.send_remove(name, force=force, volumes=volumes,
                                                                           link=link))


COMMAND = Command(
    "Remove one or more containers", "[OPTIONS] CONTAINER [CONTAINER...]", run, arity=(1, None),
    options=(
        ("force", "f", "", "Remove it even when it runs (it is killed)"),
        ("link", "l", "", "Remove the link of that name"),
        ("volumes", "v", "", "Remove its anonymous volumes, too"),
    ),
    requests=("ContainerDelete",))
