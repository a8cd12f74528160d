"""A snapshot's writable layer in a file system of its own, so that it has a bound on any disk (`linux/ext4.py`).

    snapshots/<key>/quota.img   holds upper/ and work/; a sparse file: it takes what was written, no more
    snapshots/<key>/quota       a link whose target is the bound in bytes; it isn't meant to be followed

A container mounts it in its own mount namespace; the server, while it looks in, by a detached mount.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kist.errors import InvalidParameter
from kist.linux import ext4, mount

IMAGE, SIZE = "quota.img", "quota"
#: What stands for the mounted image in an overlay's options (runtime, `kist.storageQuota`).
MOUNTED = "QUOTA"


def check_usable() -> None:
    if not ext4.usable():
        raise InvalidParameter("--storage-opt size: mkfs.ext4 and e2fsck are needed on the server's machine (package "
                               f"{ext4.PACKAGE})")


def size(directory: str) -> int:
    """The bound of the snapshot at *directory*; 0: it has none."""
    try:
        return int(os.readlink(f"{directory}/{SIZE}"))
    except FileNotFoundError:
        return 0


def make(directory: str, bound: int) -> None:
    """Let the image take the place of ``fs`` and ``work``, with what is in them."""
    tree = f"{directory}/tree"
    os.mkdir(tree, 0o711)
    os.rename(f"{directory}/fs", f"{tree}/upper")
    os.rename(f"{directory}/work", f"{tree}/work")
    ext4.make(f"{directory}/{IMAGE}", bound, tree)
    for name in ("upper", "work", ""):
        os.rmdir(f"{tree}/{name}")
    os.symlink(str(bound), f"{directory}/{SIZE}")


@contextmanager
def opened(directory: str) -> Iterator[str]:
    """The image's root as a path for this process while the context is open."""
    fd = ext4.mounted(f"{directory}/{IMAGE}")
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def overlay(directory: str, scratch: str, make: Callable[[str], int]) -> int:
    """What *make* makes of the image's root: an overlay, as a descriptor. Older kernels (5.14 to 6.14) take no
    directory of a detached mount for it: there it has a place in *scratch* as long as *make* works."""
    with opened(directory) as root:
        try:
            return make(root)
        except OSError:
            place = f"{scratch}/{secrets.token_hex(8)}"
            os.mkdir(place, 0o700)
            try:
                mount.move_mount(int(root.rpartition("/")[2]), mount.AT_FDCWD, place)
                try:
                    return make(place)
                finally:
                    mount.umount2(place, mount.MNT_DETACH)
            finally:
                os.rmdir(place)
