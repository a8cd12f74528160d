"""kist tag: give an image one more name."""

from __future__ import annotations

from kist.cli.parser import Command
from kist.cli.pulling import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    repo, tag = split(args.words[1])
    session.client.images.tag(args.words[0], repo, tag)
    return 0


COMMAND = Command("Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
                  "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", run, arity=(2, 2), requests=("ImageTag",))
