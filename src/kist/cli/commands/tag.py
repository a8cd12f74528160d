"""kist tag: give an image one more name."""

from __future__ import annotations

from kist.cli.names import is_name
from kist.cli.parser import CliError, Command
from kist.cli.pulling import split
from kist.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    repo, tag = split(args.words[1])
    if "@" in args.words[1] and is_name(args.words[1]):
        raise CliError("refusing to create a tag with a digest reference")
    try:
        session.client.images.tag(args.words[0], repo, tag)
    except InvalidParameter as error:
        if not error.message.startswith("invalid reference format"):
            raise CliError(error.message) from None     # Docker's client finds it out by itself
        wrong = args.words[0] if not is_name(args.words[0]) else args.words[1]
        raise CliError(f'Error parsing reference: "{wrong}" is not a valid repository/tag: {error.message}') from None
    return 0


COMMAND = Command("Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
                  "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", run, arity=(2, 2), requests=("ImageTag",))
