"""A read-only view of a stack of layers, as a descriptor: a mount that no mount namespace ever shows."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kist.linux import mount
from kist.store.errors import storage_errors

_QUIET = mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC | mount.MS_RDONLY
_ATTRIBUTES = (mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV
               | mount.MOUNT_ATTR_NOEXEC)


@contextmanager
def merged(roots: Sequence[str], scratch: str) -> Iterator[int]:
    """A descriptor of the overlay of *roots*, the uppermost first; *scratch* is a directory for older kernels."""
    with storage_errors("read container's file system"):
        fd = _plain(roots[0]) if len(roots) == 1 else overlay(roots, scratch)
    try:
        yield fd
    finally:
        os.close(fd)


def _plain(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def overlay(roots: Sequence[str], scratch: str) -> int:
    try:
        return mount.detached("overlay", [f"lowerdir+={root}" for root in roots], _ATTRIBUTES)
    except OSError:
        # Before Linux 6.5 lower directories can't be given one by one, and together they are longer than
        # what fsconfig(2) takes: mount the old way, keep a descriptor, and take it off again at once.
        return _overlay_before_6_5(roots, scratch)


def _overlay_before_6_5(roots: Sequence[str], scratch: str) -> int:
    target = f"{scratch}/{secrets.token_hex(8)}"
    os.mkdir(target, 0o700)
    try:
        mount.mount("overlay", target, "overlay", _QUIET, f"lowerdir={':'.join(roots)}")
        try:
            return _plain(target)
        finally:
            mount.umount2(target, mount.MNT_DETACH)
    finally:
        os.rmdir(target)
