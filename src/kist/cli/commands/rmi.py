"""kist rmi: remove names of images, and with the last name the image."""

from __future__ import annotations

from kist.cli.parser import CliError, Command
from kist.cli.session import said
from kist.client.client import NoServer
from kist.errors import KistError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    problems, missing = [], 0
    for image in args.words:
        try:
            steps = session.client.images.remove(image, force=args.flag("force"), prune=not args.flag("no-prune"),
                                                 platforms=args.list("platform"))
        except NoServer:
            raise
        except KistError as error:
            missing += isinstance(error, NotFound)
            problems.append(said(error))
            continue
        for step in steps:
            for word, name in step.items():
                session.out(f"{word}: {name}")
    if problems and not (args.flag("force") and missing == len(problems)):
        raise CliError("\n".join(problems))
    for problem in problems:
        session.warn(problem)
    return 0


COMMAND = Command(
    "Remove one or more images", "[OPTIONS] IMAGE [IMAGE...]", run, arity=(1, None),
    options=(
        ("force", "f", "", "Remove it even when containers or several names refer to it"),
        ("no-prune", "", "", "Keep parents that have no name"),
        ("platform", "", "strings", "Remove only this variant of the image (os/arch)"),
    ),
    requests=("ImageDelete",))
