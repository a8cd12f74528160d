"""Layers as one EROFS file each (Linux, Documentation/filesystems/erofs.rst), mounted straight from the file.

    layers/<number>/layer.erofs    the layer, made by mkfs.erofs of its unpacked files
    layers/<number>/fs             an empty directory with the root's owner and mode: where a container mounts it

A container mounts it in its own mount namespace. The server itself reads it by a detached mount, which no
namespace shows and which ends with its descriptor. Mounting from a file needs Linux 6.12
(CONFIG_EROFS_FS_BACKED_BY_FILE); loop devices, which older kernels would need, are few, and a crash leaves them behind.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from kist.errors import InvalidParameter
from kist.linux import mount
from kist.store.errors import StorageFailure, storage_errors
from kist.store.trash import remove_tree

IMAGE = "layer.erofs"
_MKFS = "mkfs.erofs"
_READ = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC


def check_usable() -> None:
    """Raises `InvalidParameter` that says what is missing: the program, or the kernel's support."""
    if shutil.which(_MKFS) is None:
        raise InvalidParameter(f'storage.driver "erofs": {_MKFS} is missing (package erofs-utils)')
    with tempfile.TemporaryDirectory(prefix="kist-erofs-") as folder:
        os.mkdir(f"{folder}/fs")
        seal(folder)
        try:
            os.close(_detached(folder))
        except OSError as error:
            raise InvalidParameter('storage.driver "erofs": the kernel mounts no EROFS files (Linux 6.12 and later '
                                   f"can): {error.strerror}") from None


def is_sealed(directory: str) -> bool:
    """Whether the layer at *directory* is an EROFS file."""
    return os.path.exists(f"{directory}/{IMAGE}")


def seal(directory: str) -> None:
    """Let one EROFS file take the place of the tree ``<directory>/fs``."""
    tree = f"{directory}/fs"
    done = subprocess.run([_MKFS, f"{directory}/{IMAGE}", tree], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        lines = done.stdout.decode(errors="replace").strip().splitlines()
        raise StorageFailure(f"{_MKFS}: {lines[-1] if lines else f'status {done.returncode}'}")
    with storage_errors("seal layer"):
        root = os.stat(tree)
        remove_tree(tree)
        os.mkdir(tree)
        os.chown(tree, root.st_uid, root.st_gid)
        os.chmod(tree, stat.S_IMODE(root.st_mode))


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
