"""kist history: how an image was made."""

from __future__ import annotations

from kist.cli.listing import FORMAT, NO_TRUNC, show
from kist.cli.output import ago, ellipsis, human_size, short_id
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session


def run(args: Arguments, session: Session) -> int:
    from kist.cli.commands.save import platform_json

    platform = platform_json(args.text("platform")) if args.text("platform") else ""
    steps = session.client.images.history(args.words[0], platform=platform)
    wide, human = args.flag("no-trunc"), args.flag("human")
    show(session, {
        "ID": ("IMAGE", (lambda h: h["Id"]) if wide else (lambda h: short_id(h["Id"]))),
        "CreatedAt": ("CREATED AT", lambda h: _time(h["Created"])),
        "CreatedSince": (("CREATED", lambda h: ago(h["Created"]) if h["Created"] > 0 else "N/A") if human
                         else ("CREATED AT", lambda h: _time(h["Created"]))),
        "CreatedBy": ("CREATED BY", lambda h: _step(h["CreatedBy"], wide=wide)),
        "Size": ("SIZE", lambda h: human_size(h["Size"]) if human else h["Size"]),
        "Comment": ("COMMENT", lambda h: h["Comment"]),
    }, ("ID", "CreatedSince", "CreatedBy", "Size", "Comment"), steps, form=args.text("format"),
        type_="*image.historyContext", quiet="ID" if args.flag("quiet") else "")
    return 0


def _step(text: Any, *, wide: bool) -> str:
    line = str(text).replace("\t", " ")
    return line if wide else ellipsis(line, 45)


def _time(stamp: int) -> str:
    """RFC 3339 in local time."""
    import time

    moment = time.localtime(stamp)
    zone = time.strftime("%z", moment)
    return time.strftime("%Y-%m-%dT%H:%M:%S", moment) + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")


COMMAND = Command(
    "Show the history of an image", "[OPTIONS] IMAGE", run, arity=(1, 1),
    options=(
        FORMAT,
        ("human", "H", "", "Show sizes and times for people", True),
        NO_TRUNC,
        ("platform", "", "string", "Show this variant of the image (os/arch)"),
        ("quiet", "q", "", "Show only ids"),
    ),
    requests=("ImageHistory",))
