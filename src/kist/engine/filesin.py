"""A tar on its way into a container: each entry below the directory that cp was told, and never above it."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable

from kist.errors import InvalidParameter
from kist.linux.openat2 import Root
from kist.store.tarformat import DIRECTORY, HARDLINK, Entry, show
from kist.store.tarread import Source, TarReader


def inside_of(root: Root, fd: int) -> bytes:
    """The path of a directory below the root, links resolved."""
    base, full = os.readlink(f"/proc/self/fd/{root.fd}"), os.readlink(f"/proc/self/fd/{fd}")
    return os.fsencode(full[len(base.rstrip("/")):].strip("/") if full.startswith(base) else full.strip("/"))


class Below(TarReader):
    """A tar whose entries are placed below a directory of the root."""

    def __init__(self, source: Source, inside: bytes, owner: tuple[int, int] | None,
                 check: Callable[[Entry], None] | None) -> None:
        super().__init__(source, sparse=True)
        self._inside, self._owner, self._check = inside, owner, check

    def next(self) -> Entry | None:
        entry = super().next()
        if entry is None:
            return None
        entry.name = self._below(entry.name)
        if entry.type == HARDLINK:
            entry.linkname = self._below(entry.linkname)
        if self._owner is not None:
            entry.uid, entry.gid = self._owner
        if self._check is not None:
            self._check(entry)
        return entry

    def _below(self, name: bytes) -> bytes:
        """The path in the root that a name means; never above the directory."""
        parts: list[bytes] = []
        for part in name.split(b"/"):
            if part == b".." and not parts:
                raise InvalidParameter(f'"{show(name)}" is outside of "/{show(self._inside)}"')
            if part == b"..":
                parts.pop()
            elif part not in (b"", b"."):
                parts.append(part)
        return b"/".join([self._inside, *parts] if self._inside else parts) or b"."


def guard(root: Root, where: str) -> Callable[[Entry], None]:
    """noOverwriteDirNonDir: directories and other files don't replace each other when an archive is unpacked
    in ``where``."""

    def check(entry: Entry) -> None:
        name = os.fsdecode(entry.name)
        try:
            there = root.stat(name, follow=False)
        except OSError:
            return
        if modes.S_ISDIR(there.st_mode) and entry.type != DIRECTORY:
            raise InvalidParameter(f'cannot overwrite directory "/{name}" with non-directory "{where}"')
        if not modes.S_ISDIR(there.st_mode) and entry.type == DIRECTORY:
            raise InvalidParameter(f'cannot overwrite non-directory "/{name}" with directory "{where}"')

    return check
