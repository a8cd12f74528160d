"""`kist hub library`: lists the recipes, or builds images and puts them into a Hub's data folder.

    kist hub library list [--recipes DIR]
    kist hub library build [--data DIR] [--absent] [--recipes DIR] [--archives DIR] [--lock FILE] [NAME…]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kist.errors import KistError
from kist.hub.library import lock
from kist.hub.library.archive import AptArchive
from kist.hub.library.recipe import Named, load_all
from kist.hub.library.workshop import ARCHITECTURE, Workshop

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
    make.add_argument("--lock", type=Path, metavar="FILE", help="build from the packages that the file names; where "
                      "there is no such file, write down in it what was built from")
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


def _build(data: Path, named: Named, shop: Workshop, *, always: bool) -> None:
    from kist.hub.publish import publish

    key = f"{shop.key(named.name)} {shop.archive.state()}"
    record = _record(data, named)
    if record.is_file() and record.read_text() == key and not always:
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
        shop = _workshop(scratch.resolve(), args, known)
        recording = args.lock is not None and not args.lock.exists()
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
            for done in [pool.submit(_build, data, named, shop, always=recording) for named in todo]:
                done.result()
        if recording:
            lock.write(args.lock, shop.locked())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _workshop(scratch: Path, args: argparse.Namespace, known: Mapping[str, Named]) -> Workshop:
    archives = (args.archives or scratch / "archives").resolve()
    if args.lock is None or not args.lock.exists():
        return Workshop(scratch, archives, AptArchive(), known)
    found = lock.read(args.lock)
    if found.architecture != ARCHITECTURE:
        raise KistError(f"{args.lock} is for {found.architecture}, this machine is {ARCHITECTURE}")
    for tool, version in lock.tools().items():
        if found.tools.get(tool) not in (None, version):
            print(f"note: {tool} is {version} here, and was {found.tools[tool]} when {args.lock} was written: "
                  "digests may differ", file=sys.stderr)
    return Workshop(scratch, archives, lock.LockedArchive(found, known, archives), known)


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
