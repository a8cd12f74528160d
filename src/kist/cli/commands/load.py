"""kist load: images from a tar archive that `kist save` made."""

from __future__ import annotations

import sys

from kist.cli.commands.save import platform_json
from kist.cli.files import read_pieces
from kist.cli.parser import CliError, Command
from kist.cli.pulling import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    path = args.text("input")
    if not path and sys.stdin.isatty():
        raise CliError("requested load from stdin, but stdin is empty")
    platforms = [platform_json(args.text("platform"))] if args.text("platform") else []
    steps = session.client.images.load(read_pieces(path), quiet=args.flag("quiet"), platforms=platforms)
    show(steps, sys.stdout, color=not session.settings.no_color)
    return 0


COMMAND = Command(
    "Load an image from a tar archive or STDIN", "[OPTIONS]", run,
    options=(
        ("input", "i", "string", "Read this file, not STDIN"),
        ("platform", "", "string", "Load only this variant (os/arch)"),
        ("quiet", "q", "", "Show no progress"),
    ),
    requests=("ImageLoad",))
