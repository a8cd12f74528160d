"""Layers as tars whose bytes depend on their content alone.

Names are sorted, owners are numbers, times are clamped to the recipe's epoch: the same packages
give the same digest on any day.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

_CHUNK = 1 << 20


def _settle(info: tarfile.TarInfo, epoch: int) -> tarfile.TarInfo:
    info.uname = info.gname = ""
    info.mtime = min(int(info.mtime), epoch)
    info.pax_headers = {k: v for k, v in info.pax_headers.items() if k.startswith("SCHILY.xattr.")}
    return info


def _normal(name: str) -> str:
    return name.removeprefix("./").strip("/")


class LayerTar:
    """A layer under construction; use as a context manager, entries in the order that you add them."""

    def __init__(self, path: Path, epoch: int) -> None:
        self.path, self.epoch = path, epoch
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)

    def __enter__(self) -> LayerTar:
        return self

    def __exit__(self, *exc: object) -> None:
        self._tar.close()

    def directory(self, name: str, mode: int = 0o755, *, uid: int = 0, gid: int = 0) -> None:
        self._add(name, tarfile.DIRTYPE, mode, owner=(uid, gid))

    def file(self, name: str, data: bytes, mode: int = 0o644, *, uid: int = 0, gid: int = 0) -> None:
        self._add(name, tarfile.REGTYPE, mode, data, owner=(uid, gid))

    def symlink(self, name: str, target: str) -> None:
        self._add(name, tarfile.SYMTYPE, 0o777, target=target)

    def copy(self, source: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """One entry of another tar, settled."""
        data = source.extractfile(member) if member.isreg() else None
        info = _settle(member, self.epoch)
        info.name = _normal(member.name)
        if info.islnk():
            info.linkname = _normal(info.linkname)
        self._tar.addfile(info, data)

    def _add(self, name: str, kind: bytes, mode: int, data: bytes = b"", target: str = "",
             owner: tuple[int, int] = (0, 0)) -> None:
        info = tarfile.TarInfo(name)
        info.uid, info.gid = owner
        info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, len(data), target, self.epoch
        self._tar.addfile(info, io.BytesIO(data))


def _fingerprint(source: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[object, ...]:
    digest = b""
    if member.isreg():
        file = source.extractfile(member)
        assert file is not None
        running = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            running.update(chunk)
        digest = running.digest()
    xattrs = tuple(sorted((k, v) for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")))
    link = _normal(member.linkname) if member.islnk() else member.linkname
    return (member.type, member.mode, member.uid, member.gid, link, digest, xattrs,
            member.devmajor, member.devminor)


def _wanted(members: Iterable[tarfile.TarInfo], drop: tuple[str, ...]) -> dict[str, tarfile.TarInfo]:
    """By normal name, without the root, device nodes (a container gets its own) and dropped prefixes.

    A prefix that ends in ``/`` drops what lies below the directory and keeps the directory.
    """
    kept = {}
    for member in members:
        name = _normal(member.name)
        if not name or member.ischr() or member.isblk():
            continue
        if any(name == d or (name.startswith(d if d.endswith("/") else d + "/")) for d in drop):
            continue
        kept[name] = member
    return kept


def settle_tar(raw: Path, out: Path, epoch: int, drop: tuple[str, ...] = (), base: Path | None = None,
               without: Sequence[str] = ()) -> None:
    """Writes ``out``: the entries of ``raw`` in sorted order, settled.

    With ``base``, only what differs from it, and whiteouts for what ``raw`` lacks: the layer that
    turns ``base`` into ``raw`` (image-spec 1.1, layer.md, "Change Types" and "Whiteouts"). What matches
    one of the ``without`` patterns (fnmatch) is no part of the difference.
    """
    with tarfile.open(raw) as source, LayerTar(out, epoch) as layer:
        have = _wanted(source, drop)
        old = _fingerprints(base) if base is not None else {}
        new = {n for n, m in have.items() if not any(fnmatchcase(n, pattern) for pattern in without)
               and old.get(n) != _fingerprint(source, m)}
        for name in sorted(new | _parents(new)):
            if name in have:
                layer.copy(source, have[name])
        for name in sorted(set(old) - set(have)):
            parent, _, leaf = name.rpartition("/")
            if not parent or parent in have:
                layer.file(f"{parent}/.wh.{leaf}".lstrip("/"), b"")


@lru_cache(maxsize=2)
def _fingerprints(base: Path) -> dict[str, tuple[object, ...]]:
    """Of everything in a base, which is compared with each root that stands on it; a settled tar never changes."""
    with tarfile.open(base) as below:
        return {n: _fingerprint(below, m) for n, m in _wanted(below, ()).items()}


def _parents(names: set[str]) -> set[str]:
    found = set()
    for name in names:
        while (name := name.rpartition("/")[0]) and name not in found:
            found.add(name)
    return found
