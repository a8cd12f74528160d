"""kist push: send an image to its registry."""

from __future__ import annotations

import sys

from kist.cli.credentials import for_image
from kist.cli.names import full_name, is_name, with_tag
from kist.cli.parser import CliError, Command
from kist.cli.pulling import show, split
from kist.cli.session import parsing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    image = args.words[0]
    if args.flag("all-tags") and with_tag(image) == image:
        raise CliError("tag can't be used with --all-tags/-a")
    if not args.flag("disable-content-trust"):
        raise CliError("--disable-content-trust=false is not supported: there is no notary to ask")
    name, tag = (image, "") if args.flag("all-tags") else split(image)
    if not args.flag("quiet") and with_tag(image) != image and not args.flag("all-tags") and is_name(image):
        session.out("Using default tag: latest")
    steps = session.client.images.push(name, tag=tag, platform=args.text("platform"),
                                       auth=for_image(session, image))
    if args.flag("quiet"):
        for _ in steps:
            pass
        session.out(full_name(with_tag(image)))
    else:
        show(steps, sys.stdout, color=not session.settings.no_color)
    return 0


COMMAND = Command(
    "Upload an image to a registry", "[OPTIONS] NAME[:TAG]", parsing(run), arity=(1, 1),
    options=(
        ("all-tags", "a", "", "Send all tags of the repository"),
        ("disable-content-trust", "", "", "Skip the signing of the image", True),
        ("platform", "", "string", "Send only this variant of the image (os/arch)"),
        ("quiet", "q", "", "Show nothing but the name"),
    ),
    requests=("ImagePush",))
