"""kist commit: make an image of a container."""

from __future__ import annotations

from kist.cli.parser import Command
from kist.cli.pulling import split
from kist.cli.session import parsing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    container, *names = args.words
    repo, tag = split(names[0]) if names else ("", "")
    made = session.client.containers.commit(
        container, repo=repo, tag=tag, comment=args.text("message"), author=args.text("author"),
        pause=args.flag("pause"), changes=args.list("change"))
    session.out(made["Id"])
    return 0


COMMAND = Command(
    "Create a new image from a container's changes", "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    parsing(run), arity=(1, 2), interspersed=False,
    options=(
        ("author", "a", "string", 'Author ("John Hannibal Smith <hannibal@a-team.com>")'),
        ("change", "c", "list", "Apply an instruction of a Dockerfile to the image"),
        ("message", "m", "string", "Message"),
        ("pause", "p", "", "Pause the container meanwhile", True),
    ),
    requests=("ImageCommit",))
