"""`kist hub library`: lists the recipes, or builds images and puts them into a Hub's data folder.

    python -m kist.hub.library list
    python -m kist.hub.library build [--data DIR] [--absent] [NAME…]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from kist.errors import KistError
from kist.hub.library import debian
from kist.hub.library.recipes import RECIPES, Recipe, Workshop, build

# Set by `kist hub` and by the data option alone; the same default as the Hub's own.
_DATA = Path("/var/lib/kist/hub")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kist hub library", description="The Hub's own images.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="the recipes")
    make = verbs.add_parser("build", help="build images into a Hub's data folder (default: all of them)")
    make.add_argument("--data", type=Path, default=_DATA, help="the Hub's data folder (default: %(default)s)")
    make.add_argument("--absent", action="store_true", help="leave images alone that the Hub has in any version")
    make.add_argument("names", nargs="*", metavar="NAME")
    return parser


def _chosen(names: list[str]) -> list[Recipe]:
    unknown = [n for n in names if n not in RECIPES]
    if unknown:
        raise KistError(f"no recipe named {unknown[0]}; there are: {', '.join(RECIPES)}")
    return [RECIPES[n] for n in names or RECIPES]


def _record(data: Path, recipe: Recipe) -> Path:
    return data / "library" / f"{recipe.name}.key"


def _build(data: Path, recipe: Recipe, shop: Workshop) -> None:
    from kist.hub.publish import publish

    key = recipe.key(shop.epoch)
    record = _record(data, recipe)
    if record.is_file() and record.read_text() == key:
        print(f"{recipe.name}: up to date")
        return
    layout = shop.path(f"{recipe.name}.layout")
    digest = build(recipe, shop, layout)
    publish(data, f"library/{recipe.name}", recipe.tag, layout, summary=recipe.summary)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(key)
    print(f"{recipe.name}:{recipe.tag}: {digest}", flush=True)


def _build_all(data: Path, recipes: list[Recipe], *, absent: bool) -> None:
    todo = [r for r in recipes if not (absent and _record(data, r).is_file())]
    if not todo:
        return
    scratch = data / "library" / f"scratch-{os.getpid()}"
    shop = Workshop(scratch, debian.epoch())
    try:
        for recipe in todo:
            _build(data, recipe, shop)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        if args.verb == "list":
            for recipe in RECIPES.values():
                print(f"{recipe.name:<12} {recipe.summary}")
        else:
            _build_all(args.data, _chosen(args.names), absent=args.absent)
    except (KistError, OSError) as error:
        print(f"kist hub library: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
