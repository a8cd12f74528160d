"""A sealed interpreter: run Python from a read-only mount that nothing else can reach.

A program in a container may get hold of the runtime's own executable through ``/proc/self/exe`` (a script
whose interpreter is ``/proc/self/exe`` is enough) and later overwrite it: CVE-2019-5736. So the processes
that enter containers run their interpreter from a detached, read-only clone of the mount it lies on: what the
link leads to can't be opened for writing, by nobody. The clone costs two system calls and no copy.
"""

from __future__ import annotations

import os

from kist.linux.mount import MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE, mount_setattr, open_tree

ST_RDONLY = 1


def open_executable(path: str) -> int:
    """A descriptor of the executable ``path`` on a read-only mount of its own. It may be exec'ed as
    ``/proc/self/fd/N`` (close-on-exec stays set: the kernel keeps the mount as long as the program runs)."""
    fd = open_tree(-100, os.path.realpath(path), OPEN_TREE_CLONE)
    try:
        mount_setattr(fd, set=MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(fd)
        raise
    return fd


def is_sealed() -> bool:
    """Does this process run an executable that lies on a read-only mount?"""
    return bool(os.statvfs("/proc/self/exe").f_flag & ST_RDONLY)


def reexec(executable: str, argv: list[str], env: dict[str, str]) -> None:
    """Replace this process by ``argv``, run by the sealed ``executable``. Returns only by an OSError."""
    fd = open_executable(executable)
    os.execve(f"/proc/self/fd/{fd}", [executable, *argv], env)
