"""A copy of a Hub's data folder while the Hub runs: `kist hub admin backup DIR`.

The metadata are copied first, as they are at one moment; then the blobs, which never change. What is pushed
meanwhile is not in the copy; what is collected meanwhile had been deleted. The copy is a data folder: a Hub
can run over it. Into a folder that has an older copy, only what is new is written.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kist.errors import InvalidParameter
from kist.hub.database import Database


@dataclass
class Copied:
    blobs: int = 0
    bytes: int = 0


def backup(data: Path, target: Path) -> Copied:
    """Copy the Hub in ``data`` to ``target``. Raises InvalidParameter for a target inside of the data."""
    if target.resolve().is_relative_to(data.resolve()):
        raise InvalidParameter(f"{target} is inside of the data folder")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(data / "hub.db")
    try:
        database.copy_to(target / "hub.db")
    finally:
        database.close()
    copied = Copied()
    for path in sorted((data / "blobs").glob("*/??/*")):
        with suppress(FileNotFoundError):  # collected meanwhile
            _copy(path, target / path.relative_to(data), copied)
    return copied


def _copy(path: Path, target: Path, copied: Copied) -> None:
    size = path.stat().st_size
    if target.exists() and target.stat().st_size == size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    shutil.copyfile(path, partial)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    copied.blobs += 1
    copied.bytes += size
