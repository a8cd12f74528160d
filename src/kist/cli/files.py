"""Archives from and to files, stdin and stdout."""

from __future__ import annotations

import os
import stat
import sys

from kist.cli.attach import write_all
from kist.cli.parser import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PIECE = 1 << 20


_NO_FILES = ((stat.S_ISDIR, "directory"), (stat.S_ISCHR, "character device file"), (stat.S_ISBLK, "block device file"),
             (stat.S_ISFIFO, "named pipe (FIFO)"), (stat.S_ISSOCK, "socket"), (stat.S_ISLNK, "symbolic link directly"))


def check_output(path: str, problem: str) -> None:
    """Refuse a terminal, and a place where no file can be; `problem` is what has failed then."""
    if not path:
        if sys.stdout.isatty():
            raise CliError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        return
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise CliError(f"{problem}: invalid output path: stat {folder}: no such file or directory")
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    # The archive takes the place of what is there: of /dev/null, too.
    for is_one, words in _NO_FILES:
        if is_one(mode):
            raise CliError(f"{problem}: cannot write to a {words}")


def write_archive(chunks: Iterable[bytes], path: str) -> None:
    """To a file, which appears when it is whole; to stdout when no path is told (never to a terminal)."""
    if not path:
        for chunk in chunks:
            write_all(1, chunk)
        return
    half = f"{path}.{os.getpid()}.part"
    try:
        with open(half, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(half, path)
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from None
    finally:
        if os.path.exists(half):
            os.unlink(half)


def read_pieces(path: str) -> Iterator[bytes]:
    """The bytes of a file, of stdin for "" and "-"."""
    fd = 0 if path in ("", "-") else _open(path)
    try:
        while piece := os.read(fd, PIECE):
            yield piece
    finally:
        if fd:
            os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CliError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
