"""Layers as one EROFS file each (Linux, Documentation/filesystems/erofs.rst), mounted straight from the file.

    layers/<number>/layer.erofs    the layer, its tar with inodes behind it (`erofsimage`)
    layers/<number>/fs             an empty directory with the root's owner and mode: where a container mounts it

A container mounts it in its own mount namespace. The server itself reads it by a detached mount, which no
namespace shows and which ends with its descriptor. Mounting from a file needs Linux 6.12
(CONFIG_EROFS_FS_BACKED_BY_FILE); loop devices, which older kernels would need, are few, and a crash leaves them behind.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

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
def opened(directories: Sequence[str]) -> Iterator[list[str]]:
    """The roots of layers of either kind, as paths for this process while the context is open."""
    with ExitStack() as stack:
        roots = []
        for directory in directories:
            if is_sealed(directory):
                with storage_errors(f"mount {directory}/{IMAGE}"):
                    fd = _detached(directory)
                stack.callback(os.close, fd)
                roots.append(f"/proc/self/fd/{fd}")
            else:
                roots.append(f"{directory}/fs")
        yield roots


def _detached(directory: str) -> int:
    return mount.detached("erofs", [f"source={directory}/{IMAGE}"], _READ)
