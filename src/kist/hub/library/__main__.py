"""`kist hub library`: lists the recipes, or builds images and puts them into a Hub's data folder.

    kist hub library list [--recipes DIR]
    kist hub library build [--data DIR] [--absent] [--recipes DIR] [--archives DIR] [NAME…]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from kist.errors import KistError
from kist.hub.library import debian
from kist.hub.library.recipe import Named, load_all
from kist.hub.library.workshop import Workshop

# Set by `kist hub` and by the data option alone; the same default as the Hub's own.
_DATA = Path("/var/lib/kist/hub")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kist hub library", description="The Hub's own images.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    _recipes(verbs.add_parser("list", help="the recipes"))
    make = verbs.add_parser("build", help="build images into a Hub's data folder (default: all of them)")
    make.add_argument("--data", type=Path, default=_DATA, help="the Hub's data folder (default: %(default)s)")
    make.add_argument("--absent", action="store_true", help="leave images alone that the Hub has in any version")
    make.add_argument("--archives", type=Path, metavar="DIR", help="keep package files there, for the next build")
    make.add_argument("names", nargs="*", metavar="NAME")
    _recipes(make)
    return parser


def _recipes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipes", type=Path, metavar="DIR", help="a folder with recipes of your own, as well")


def _chosen(known: Mapping[str, Named], names: list[str]) -> list[Named]:
    unknown = [n for n in names if n not in known]
    if unknown:
        raise KistError(f"no recipe named {unknown[0]}; there are: {', '.join(known)}")
    return [known[n] for n in names or known]


def _record(data: Path, named: Named) -> Path:
    return data / "library" / f"{named.name.replace('/', '-')}.key"


def _build(data: Path, named: Named, shop: Workshop) -> None:
    from kist.hub.publish import publish

    key = f"{shop.key(named.name)} {debian.archive_state()}"
    record = _record(data, named)
    if record.is_file() and record.read_text() == key:
        print(f"{named.name}: up to date")
        return
    layout = shop.path(named.name, "layout")
    digest, tags = shop.build(named.name, layout)
    publish(data, named.repository, tags[0], layout, also=tags[1:], summary=named.recipe.summary,
            description=named.recipe.description)
    shutil.rmtree(layout)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(key)
    print(f"{named.name}:{tags[0]}: {digest}", flush=True)


def _build_all(data: Path, known: Mapping[str, Named], args: argparse.Namespace) -> None:
    todo = [r for r in _chosen(known, args.names) if not (args.absent and _record(data, r).is_file())]
    if not todo:
        return
    scratch = data / "library" / f"scratch-{os.getpid()}"
    try:
        shop = Workshop(scratch.resolve(), debian.epoch(), (args.archives or scratch / "archives").resolve(), known)
        for named in todo:
            _build(data, named, shop)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        known = load_all(args.recipes)
        if args.verb == "list":
            for named in known.values():
                print(f"{named.name:<12} {named.recipe.summary}")
        else:
            _build_all(args.data, known, args)
    except (KistError, OSError) as error:
        print(f"kist hub library: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
