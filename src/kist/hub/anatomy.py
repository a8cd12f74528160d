"""What is in an image's layers: what each adds, changes and removes, what is wasted, how two images differ (pure).

A layer is a list of files as its tar has them; whiteouts are `.wh.NAME` (remove NAME) and `.wh..wh..opq`
(remove all that lower layers have in this folder) (image-spec 1.1, layer.md#whiteouts). Wasted are the bytes
of lower layers that a higher one hides: they are pulled and kept for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import msgspec

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class File(msgspec.Struct, frozen=True, array_like=True):
    """One entry of a layer. ``kind`` is f(ile), d(irectory), l(ink, symbolic), h(ard link) or o(ther)."""

    path: str  # relative, without a slash at the end; "" never occurs
    kind: str
    mode: int
    size: int  # bytes, of files only
    mark: int = 0  # CRC-32 of a file's bytes: enough to show that something changed
    target: str = ""  # of links

    @property
    def same_as(self) -> tuple[object, ...]:
        return self.kind, self.mode, self.size, self.mark, self.target


class Listing(msgspec.Struct, frozen=True, array_like=True):
    """A whole layer; ``truncated`` where it has more entries than are read."""

    files: list[File]
    truncated: bool = False

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class What(Enum):
    """What a layer does to a path; the value is shown."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True)
class Change:
    what: What
    path: str
    size: int  # of the new file; of the old one where it is removed
    file: File | None = None
    wasted: int = 0  # bytes of lower layers that this hides


@dataclass(frozen=True)
class LayerChanges:
    changes: list[Change]
    size: int
    truncated: bool = False

    @property
    def wasted(self) -> int:
        return sum(change.wasted for change in self.changes)

    def count(self, what: What) -> int:
        return sum(change.what is what for change in self.changes)


@dataclass
class _Tree:
    """The files so far, and for each folder the names in it (for whiteouts)."""

    files: dict[str, File] = field(default_factory=dict)
    inside: dict[str, set[str]] = field(default_factory=dict)

    def put(self, file: File) -> None:
        self.files[file.path] = file
        self.inside.setdefault(file.path.rpartition("/")[0], set()).add(file.path)

    def remove(self, path: str) -> list[File]:
        """The file or the folder with all that is in it."""
        removed = []
        gone = [path]
        while gone:
            one = gone.pop()
            found = self.files.pop(one, None)
            if found is not None:
                removed.append(found)
            gone += self.inside.pop(one, ())
        self.inside.get(path.rpartition("/")[0], set()).discard(path)
        return removed


def dissect(layers: Sequence[Listing]) -> list[LayerChanges]:
    """What each layer does to those below it, lowest first."""
    tree = _Tree()
    return [_apply(tree, layer) for layer in layers]


def merged(layers: Sequence[Listing]) -> dict[str, File]:
    """The files of the whole image."""
    tree = _Tree()
    for layer in layers:
        _apply(tree, layer)
    return tree.files


def _apply(tree: _Tree, layer: Listing) -> LayerChanges:
    changes: list[Change] = []
    # Whiteouts speak of lower layers only, wherever in the tar they are.
    for file in layer.files:
        folder, _, name = file.path.rpartition("/")
        if name == _OPAQUE:
            for path in list(tree.inside.get(folder, ())):
                changes += _removed(tree, path)
        elif name.startswith(_WHITEOUT):
            changes += _removed(tree, f"{folder}/{name[len(_WHITEOUT):]}".lstrip("/"))
    for file in layer.files:
        if not file.path.rpartition("/")[2].startswith(_WHITEOUT):
            changes += _put(tree, file)
    return LayerChanges(changes, layer.size, layer.truncated)


def _removed(tree: _Tree, path: str) -> list[Change]:
    removed = tree.remove(path)
    return [Change(What.REMOVED, file.path, file.size, file, file.size) for file in removed if file.kind != "d"] or [
        Change(What.REMOVED, file.path, 0, file) for file in removed[:1]]


def _put(tree: _Tree, file: File) -> list[Change]:
    below = tree.files.get(file.path)
    if below is not None and below.kind == file.kind == "d":
        tree.put(file)
        return []  # tars name the folders on the way to what they bring
    if below is not None and below.kind == "d":
        tree.remove(file.path)
    tree.put(file)
    if below is None:
        return [Change(What.ADDED, file.path, file.size, file)] if file.kind != "d" else []
    return [Change(What.CHANGED, file.path, file.size, file, below.size)]


@dataclass(frozen=True)
class Difference:
    """One path in which two images differ."""

    what: What
    path: str
    before: File | None
    after: File | None

    @property
    def growth(self) -> int:
        return (self.after.size if self.after else 0) - (self.before.size if self.before else 0)


def compare(before: dict[str, File], after: dict[str, File]) -> list[Difference]:
    """By path: what ``after`` has that ``before`` has not, or has otherwise, or no longer."""
    differences = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if (old is None or old.kind == "d") and (new is None or new.kind == "d"):
            continue
        if old is None or new is None:
            differences.append(Difference(What.ADDED if old is None else What.REMOVED, path, old, new))
        elif old.same_as != new.same_as:
            differences.append(Difference(What.CHANGED, path, old, new))
    return differences


def clean_path(name: str) -> str:
    """A tar's name as a path from the root: no leading dots and slashes, no `..`."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "/".join(part for part in parts if part != "..")


def largest(changes: Iterable[Change], count: int) -> list[Change]:
    return sorted(changes, key=lambda change: (-change.size, change.path))[:count]
