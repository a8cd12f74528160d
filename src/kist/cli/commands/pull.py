"""kist pull: get an image from its registry."""

from __future__ import annotations

from kist.cli.names import full_name, is_name, with_tag
from kist.cli.parser import CliError, Command
from kist.cli.pulling import pull
from kist.cli.session import parsing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    image = args.words[0]
    every = args.flag("all-tags")
    if every and with_tag(image) == image:
        raise CliError("tag can't be used with --all-tags/-a")
    if not args.flag("disable-content-trust"):
        raise CliError("--disable-content-trust=false is not supported: there is no notary to ask")
    quiet = args.flag("quiet")
    if not every and with_tag(image) != image and not quiet and is_name(image):
        session.out("Using default tag: latest")
    pull(session, image, platform=args.text("platform"), quiet=quiet, all_tags=every)
    session.out(full_name(image if every else with_tag(image)))
    return 0


COMMAND = Command(
    "Download an image from a registry", "[OPTIONS] NAME[:TAG|@DIGEST]", parsing(run), arity=(1, 1),
    options=(
        ("all-tags", "a", "", "Get all images of the repository"),
        ("disable-content-trust", "", "", "Skip the verification of image signatures", True),
        ("platform", "", "string", "Platform of the image (os/arch)"),
        ("quiet", "q", "", "Show nothing but the name"),
    ),
    requests=("ImageCreate",))
