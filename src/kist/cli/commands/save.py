"""kist save: images as a tar archive, which `kist load` takes."""

from __future__ import annotations

from kist.cli.files import check_output, write_archive
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    check_output(args.text("output"), "failed to save image")
    platforms = [platform_json(args.text("platform"))] if args.text("platform") else []
    write_archive(session.client.images.save(args.words, platforms=platforms).chunks(), args.text("output"))
    return 0


def platform_json(text: str) -> str:
    """`os/arch[/variant]` as the API wants it."""
    from kist.client import wirejson

    names = ("os", "architecture", "variant")
    return wirejson.dumps(dict(zip(names, text.split("/"), strict=False))).decode()


COMMAND = Command(
    "Save one or more images to a tar archive (streamed to STDOUT by default)", "[OPTIONS] IMAGE [IMAGE...]", run,
    arity=(1, None),
    options=(
        ("output", "o", "string", "Write to this file, not to STDOUT"),
        ("platform", "", "string", "Save only this variant (os/arch)"),
    ),
    requests=("ImageGetAll",))
