"""kist import: an image of one layer from a tar archive."""

from __future__ import annotations

import sys

from kist.cli.files import read_pieces
from kist.cli.parser import Command
from kist.cli.pulling import show, split
from kist.cli.session import parsing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    source, *names = args.words
    repo, tag = split(names[0]) if names else ("", "")
    remote = source.startswith(("http://", "https://"))
    steps = session.client.images.import_(
        source if remote else "-", repo=repo, tag=tag, message=args.text("message"),
        platform=args.text("platform"), changes=args.list("change"), tar=None if remote else read_pieces(source))
    show(steps, sys.stdout, color=not session.settings.no_color)
    return 0


COMMAND = Command(
    "Import the contents from a tarball to create a filesystem image", "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    parsing(run), arity=(1, 2),
    options=(
        ("change", "c", "list", "Apply an instruction of a Dockerfile to the image"),
        ("message", "m", "string", "Message"),
        ("platform", "", "string", "Platform of the image (os/arch)"),
    ),
    requests=("ImageCreate",))
