"""kist image tree: an image's layers, the lowest first, each with its size and what made it."""

from __future__ import annotations

from kist.cli.output import ellipsis, human_size, short_id
from kist.cli.parser import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]


def run(args: Arguments, session: Session) -> int:
    name, wide = args.words[0], args.flag("no-trunc")
    image = session.client.images.inspect(name)
    steps = [step for step in reversed(session.client.images.history(name)) if step["Size"] or step.get("CreatedBy")]
    session.out(f"Image ID: {image['Id'] if wide else short_id(image['Id'])}")
    session.out(f"Tags:     {', '.join(image.get('RepoTags') or ()) or '<none>'}")
    session.out(f"Size:     {human_size(image['Size'])}")
    session.out("Layers")
    lines = layers(image, steps, wide=wide)
    for number, line in enumerate(lines):
        session.out(f"{'└──' if number == len(lines) - 1 else '├──'} {line}")
    return 0


def layers(image: JSON, steps: list[JSON], *, wide: bool) -> list[str]:
    """One line per layer. A history without as many steps that have a size can't be matched: only ids then."""
    ids = image["RootFS"].get("Layers") or []
    filled = [step for step in steps if step["Size"]]
    found = []
    for number, diff_id in enumerate(ids):
        line = diff_id if wide else short_id(diff_id)
        if len(filled) == len(ids):
            step = filled[number]
            made = " ".join((step.get("CreatedBy") or step.get("Comment") or "").split())
            line = f"{line}  {human_size(step['Size']):>8}  {made if wide else ellipsis(made, 60)}".rstrip()
        found.append(line)
    return found


COMMAND = Command(
    "Show an image's layers", "[OPTIONS] IMAGE", run, arity=(1, 1),
    options=(("no-trunc", "", "", "Show ids and steps as a whole"),),
    requests=("ImageInspect", "ImageHistory"))
