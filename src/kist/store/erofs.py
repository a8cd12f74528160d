"""Layers as one EROFS file each (Linux, Documentation/filesystems/erofs.rst), mounted straight from the file.

    layers/<number>/layer.erofs    the layer, its tar with inodes behind it (`erofsimage`)
    layers/<number>/fs             an empty directory with the root's owner and mode: where a container mounts it

A container mounts it in its own mount namespace. The server itself reads it by a detached mount, which no
namespace shows and which ends with its descriptor. Mounting from a file needs Linux 6.12
(CONFIG_EROFS_FS_BACKED_BY_FILE); loop devices, which older kernels would need, are few, and a crash leaves them behind.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache

from kist.errors import InvalidParameter
from kist.linux import mount
from kist.store.errors import storage_errors
from kist.store.inodes import Inodes

IMAGE = "layer.erofs"
_READ = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC


def check_usable(place: str | None = None) -> None:
    """Raises `InvalidParameter` if the kernel doesn't mount such files from *place* (default: where temporary
    files are). From tmpfs, for one, it doesn't."""
    with tempfile.TemporaryDirectory(prefix="kist-erofs-", dir=place) as folder:
        with Inodes(f"{folder}/{IMAGE}", bytes(16)) as inodes:
            inodes.finish([])
        try:
            os.close(_detached(folder))
        except OSError as error:
            raise InvalidParameter('storage.driver "erofs": the kernel mounts no EROFS files (Linux 6.12 and later '
                                   "can, where the data directory isn't in memory): "
                                   f"{error.strerror}") from None


def is_sealed(directory: str) -> bool:
    """Whether the layer at *directory* is an EROFS file."""
    return os.path.exists(f"{directory}/{IMAGE}")


def dress(directory: str) -> None:
    """Give the empty directory ``fs`` the owner and mode of the EROFS file's root; nothing for plain files."""
    if is_sealed(directory):
        with opened([directory]) as [root], storage_errors("store layer"):
            found = os.stat(root)
            os.chown(f"{directory}/fs", found.st_uid, found.st_gid)
            os.chmod(f"{directory}/fs", stat.S_IMODE(found.st_mode))


@contextmanager
def opened(directories: Sequence[str], scratch: str | None = None) -> Iterator[list[str]]:
    """The roots of layers of either kind, as paths for this process while the context is open. With *scratch* an
    overlay may be made of them: where the kernel takes no detached mount for one, they have places in there so long."""
    with ExitStack() as stack:
        roots = []
        for directory in directories:
            if not is_sealed(directory):
                roots.append(f"{directory}/fs")
                continue
            with storage_errors(f"mount {directory}/{IMAGE}"):
                fd = _detached(directory)
                stack.callback(os.close, fd)
                placed = scratch is not None and not _overlays_detached()
                roots.append(_place(fd, scratch, stack) if placed and scratch else f"/proc/self/fd/{fd}")
        yield roots


@cache
def _overlays_detached() -> bool:
    """Linux 6.15 and later, as tried here with two empty file systems."""
    with ExitStack() as stack:
        try:
            fds = [mount.detached("tmpfs", []) for _ in range(2)]
            for fd in fds:
                stack.callback(os.close, fd)
            os.close(mount.detached("overlay", [f"lowerdir+=/proc/self/fd/{fd}" for fd in fds]))
        except OSError:
            return False
        return True


def _place(fd: int, scratch: str, stack: ExitStack) -> str:
    path = f"{scratch}/{secrets.token_hex(8)}"
    os.mkdir(path, 0o700)
    stack.callback(os.rmdir, path)
    mount.mount_setattr(fd, propagation=mount.MS_PRIVATE)
    mount.move_mount(fd, mount.AT_FDCWD, path)
    stack.callback(mount.umount2, path, mount.MNT_DETACH)
    return path


def _detached(directory: str) -> int:
    return mount.detached("erofs", [f"source={directory}/{IMAGE}"], _READ)
