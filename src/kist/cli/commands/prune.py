"""kist … prune: remove what nobody uses, after asking, and say what and how much."""

from __future__ import annotations

import sys

from kist.cli.listing import filters
from kist.cli.output import human_size
from kist.cli.parser import CliError, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from kist.cli.parser import Arguments, Option
    from kist.cli.session import Session

    Filters = dict[str, list[str]]

FORCE: Option = ("force", "f", "", "Don't ask")
FILTER: Option = ("filter", "", "filter", 'Remove only what fits (until=<time>, label=<key>=<value>)')

BUILD_CACHE = {False: "unused build cache", True: "all build cache"}  # Kist keeps none; what will be said is Docker's

# what → (what the user is warned of, the title of the list of what went, its field in the answer)
TEXTS = {
    "container": ("all stopped containers", "Deleted Containers:", "ContainersDeleted"),
    "network": ("all custom networks not used by at least one container", "Deleted Networks:", "NetworksDeleted"),
    "volume": ("anonymous local volumes not used by at least one container", "Deleted Volumes:", "VolumesDeleted"),
    "image": ("all dangling images", "Deleted Images:", "ImagesDeleted"),
}


def _confirmed(args: Arguments, session: Session, warning: str) -> bool:
    """-f, or a "y" typed in."""
    if args.flag("force"):
        return True
    session.write(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
    session.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _remove(session: Session, kind: str, wanted: Filters | None) -> int:
    """Remove what one kind has to remove and list it; returns the bytes won."""
    client = session.client
    ask: dict[str, Callable[[Filters | None], dict[str, Any]]] = {
        "container": client.containers.prune, "network": client.networks.prune, "volume": client.volumes.prune,
        "image": client.images.prune}
    told = ask[kind](wanted)
    _, title, field = TEXTS[kind]
    gone = told.get(field) or []
    if gone:
        lines = [one if isinstance(one, str) else "\n".join(f"{word.lower()}: {name}" for word, name in one.items())
                 for one in gone]
        session.out(f"{title}\n" + "\n".join(lines) + "\n")
    return int(told.get("SpaceReclaimed") or 0)


def _pruner(kind: str) -> Callable[[Arguments, Session], int]:
    def run(args: Arguments, session: Session) -> int:
        wanted = filters(args) or {}
        what = TEXTS[kind][0]
        if kind == "volume" and args.flag("all") and "all" in wanted:
            raise CliError("conflicting options: cannot specify both --all and --filter all=1")
        if kind in ("image", "volume") and args.flag("all"):
            wanted["dangling" if kind == "image" else "all"] = ["false" if kind == "image" else "true"]
            what = ("all images without at least one container associated to them" if kind == "image"
                    else "all local volumes not used by at least one container")
        if not _confirmed(args, session, f"This will remove {what}."):
            return 0
        space = _remove(session, kind, wanted or None)
        if kind != "network":
            session.out(f"Total reclaimed space: {human_size(space, 4)}")
        return 0

    return run


def _system(args: Arguments, session: Session) -> int:
    """Containers first: they hold networks, volumes and images."""
    wanted = filters(args) or {}
    if args.flag("volumes") and "until" in wanted:
        raise CliError('ERROR: The "until" filter is not supported with "--volumes"')
    kinds = ["container", "network", *(["volume"] if args.flag("volumes") else []), "image"]
    every = "all images without at least one container associated to them"
    texts = ["all networks not used by at least one container" if kind == "network"
             else "all anonymous volumes not used by at least one container" if kind == "volume"
             else every if kind == "image" and args.flag("all") else TEXTS[kind][0] for kind in kinds]
    texts.append(BUILD_CACHE[args.flag("all")])
    warning = "This will remove:\n" + "".join(f"  - {text}\n" for text in texts)
    if wanted:
        warning += "\n  Items to be pruned will be filtered with:\n" + "".join(
            f"  - {name}={value}\n" for name, values in sorted(wanted.items()) for value in values)
    if not _confirmed(args, session, warning):
        return 0
    space = 0
    for kind in kinds:
        extra = {"dangling": ["false"]} if kind == "image" and args.flag("all") else {}
        space += _remove(session, kind, {**wanted, **extra} or None)
    session.out(f"Total reclaimed space: {human_size(space, 4)}")
    return 0


CONTAINER = Command("Remove all stopped containers", "[OPTIONS]", _pruner("container"), options=(FILTER, FORCE),
                    requests=("ContainerPrune",))
NETWORK = Command("Remove all unused networks", "[OPTIONS]", _pruner("network"), options=(FILTER, FORCE),
                  requests=("NetworkPrune",))
VOLUME = Command("Remove unused local volumes", "[OPTIONS]", _pruner("volume"), options=(
    ("all", "a", "", "Remove all unused volumes, named ones as well"), FILTER, FORCE), requests=("VolumePrune",))
IMAGE = Command("Remove unused images", "[OPTIONS]", _pruner("image"), options=(
    ("all", "a", "", "Remove all unused images, not only those without a name"), FILTER, FORCE),
    requests=("ImagePrune",))
SYSTEM = Command("Remove unused data", "[OPTIONS]", _system, options=(
    ("all", "a", "", "Remove all unused images, not only those without a name"), FILTER, FORCE,
    ("volumes", "", "", "Remove anonymous volumes, too")),
    requests=("ContainerPrune", "NetworkPrune", "ImagePrune", "VolumePrune"))
