"""`pull`: the server's progress as bars on a terminal, as plain lines elsewhere, as nothing with -q."""

from __future__ import annotations

import sys

from kist.cli.credentials import for_image
from kist.cli.names import with_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO

    from kist.cli.session import Session


def pull(session: Session, image: str, *, platform: str = "", quiet: bool = False, to_stderr: bool = False,
         all_tags: bool = False) -> None:
    """Get an image; progress goes to stdout, for `run` and `create` to stderr (their stdout is the program's)."""
    name, tag = (image, "") if all_tags else split(image)
    steps = session.client.images.pull(name, tag=tag, platform=platform, auth=for_image(session, image))
    if quiet:
        for _ in steps:
            pass
    else:
        show(steps, sys.stderr if to_stderr else sys.stdout, color=not session.settings.no_color)


def split(image: str) -> tuple[str, str]:
    """`host:5000/a/b:tag` → (`host:5000/a/b`, `tag`); a digest stands in the tag's place."""
    if "@" in image:
        name, _, digest = image.partition("@")
        return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name, digest
    name, _, tag = with_tag(image).rpartition(":")
    return name, tag


def show(steps: Iterable[dict[str, Any]], target: TextIO, *, color: bool = True) -> None:
    """Print progress (`{"status", "id", "progressDetail"}`, `{"stream"}`, `{"aux"}`) until it ends."""
    if target.isatty():
        from kist.cli.bars import show_bars

        show_bars(steps, target, color=color)
        return
    for step in steps:
        if "stream" in step:
            target.write(step["stream"])
        elif step.get("status") and not (step.get("progressDetail") or step.get("progress")):
            target.write(f"{step['id']}: {step['status']}\n" if step.get("id") else f"{step['status']}\n")
        target.flush()
