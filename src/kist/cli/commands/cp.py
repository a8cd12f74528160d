"""kist cp: copy files between a container and here (or a tar archive on stdin and stdout)."""

from __future__ import annotations

import os
import posixpath
import sys

from kist.cli.files import read_pieces
from kist.cli.output import human_size
from kist.cli.parser import CliError, Command
from kist.errors import InvalidParameter, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

# Go's os.FileMode in a path's stat.
IS_FOLDER, IS_LINK = 1 << 31, 1 << 27


def run(args: Arguments, session: Session) -> int:
    source, target = (split(word) for word in args.words)
    if source[0] and target[0]:
        raise CliError("copying between containers is not supported")
    if not source[0] and not target[0]:
        raise CliError("must specify at least one container source")
    count = [0]
    if source[0]:
        _from_container(args, session, *source, target[1], count)
        where = target[1]
    else:
        _to_container(args, session, source[1], *target, count)
        where = args.words[1]
    quiet = args.flag("quiet") if args.given("quiet") else not sys.stdout.isatty()
    if not quiet and target[1] != "-":
        session.warn(f"Successfully copied {human_size(count[0])} to {where}")
    return 0


def split(word: str) -> tuple[str, str]:
    """`container:path`, or ("", path) for a path here."""
    if word.startswith("/"):
        return "", word
    container, mark, path = word.partition(":")
    if not mark or container.startswith("."):
        return "", word
    return container, path


def _counted(chunks: Iterable[bytes], count: list[int]) -> Iterator[bytes]:
    for chunk in chunks:
        count[0] += len(chunk)
        yield chunk


def _resolve(session: Session, container: str, path: str) -> tuple[str, dict[str, Any] | None]:
    """A path in the container and what it is, links followed (None: it isn't there)."""
    for _ in range(40):
        try:
            stat = session.client.containers.stat(container, path)
        except NotFound as error:
            if "no such container" in error.message.lower():
                raise
            return path, None
        except InvalidParameter:  # something on the way is no directory
            return path, None
        if not stat["mode"] & IS_LINK:
            return path, stat
        path = posixpath.join(posixpath.dirname(path), stat["linkTarget"])
    raise CliError(f"too many links in {path}")


def _from_container(args: Arguments, session: Session, container: str, path: str, target: str,
                    count: list[int]) -> None:
    asked = path
    if args.flag("follow-link"):
        path, _ = _resolve(session, container, path)
    answer = session.client.containers.get_archive(container, path)
    chunks = _counted(answer.chunks(), count)
    if target == "-":
        from kist.cli.attach import write_all

        for chunk in chunks:
            write_all(1, chunk)
        return
    from kist.cli.unpack import unpack
    from kist.client.containers import path_stat

    stat = path_stat(answer)
    name = stat["name"] if path == asked else posixpath.basename(asked.rstrip("/"))
    folder, name = _place(target, path, is_folder=bool(stat["mode"] & IS_FOLDER), name=name)
    unpack(chunks, folder, stat["name"], name, keep_owner=args.flag("archive"))


def _place(target: str, source: str, *, is_folder: bool, name: str) -> tuple[str, str]:
    """(folder to unpack in, name that the first entry gets there); as `cp` has it."""
    contents = is_folder and (source.endswith("/.") or source == ".")
    if os.path.islink(target):  # what it leads to is written, also where nothing is yet
        target = os.path.realpath(target)
    if os.path.isdir(target):
        return (target, "") if contents else (target, name)
    if os.path.lexists(target) and is_folder:
        raise CliError("cannot copy directory")
    folder, name = os.path.split(os.path.abspath(target))
    if not os.path.lexists(folder):
        raise CliError(f"invalid output path: directory \"{folder}\" does not exist")
    try:
        os.stat(target)
    except FileNotFoundError:
        if target.endswith("/."):
            raise CliError(f"stat {target[:-2]}: no such file or directory") from None
        if target.endswith("/") and not is_folder:
            raise CliError("no such directory") from None
    except OSError as error:
        raise CliError(f"stat {target}: {(error.strerror or str(error)).lower()}") from None
    return folder, name


def _to_container(args: Arguments, session: Session, source: str, container: str, path: str,
                  count: list[int]) -> None:
    from kist.cli.pack import pack

    containers = session.client.containers
    target, stat = _resolve(session, container, path)
    folder = bool(stat and stat["mode"] & IS_FOLDER)
    if source == "-":
        if not folder:
            raise CliError(f'destination "{container}:{path}" must be a directory')
        containers.put_archive(container, target, _counted(read_pieces("-"), count),
                               copy_owner=args.flag("archive"))
        return
    local = os.path.realpath(source) if args.flag("follow-link") else source
    try:
        source_is_folder = os.path.isdir(local) and not (os.path.islink(local) and not source.endswith("/"))
        os.lstat(local)
    except OSError as error:
        raise CliError(f"lstat {os.path.abspath(source)}: {(error.strerror or str(error)).lower()}") from None
    if folder:
        contents = source_is_folder and (source.endswith("/.") or source == ".")
        name = "" if contents else os.path.basename(os.path.abspath(source))
    else:
        if stat and source_is_folder:
            raise CliError("cannot copy directory")
        if path.endswith(("/", "/.")) and not source_is_folder:
            raise CliError("no such directory")
        target, name = posixpath.split(target.rstrip("/"))
    archive = args.flag("archive")
    containers.put_archive(container, target or "/", _counted(pack(local, name, attributes=archive), count),
                           copy_owner=archive)


COMMAND = Command(
    "Copy files/folders between a container and the local filesystem",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-  |  SRC_PATH|- CONTAINER:DEST_PATH", run, arity=(2, 2),
    options=(
        ("archive", "a", "", "Keep owners"),
        ("follow-link", "L", "", "Follow a link that SRC_PATH is"),
        ("quiet", "q", "", "Don't say what was copied"),
    ),
    requests=("ContainerArchiveInfo", "ContainerArchive", "PutContainerArchive"))
