"""Masked and read-only paths (runtime-spec 1.2, config-linux.md#masked-paths, #readonly-paths).

A path that does not exist is skipped. A masked file gets the host's null device over it, a directory an empty
read-only tmpfs; both are clones of mounts made once, verified before anything of the container's was looked at.
"""

from __future__ import annotations

import errno
import os
import stat

from kist.linux import mount as m
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MISSING = (errno.ENOENT, errno.ENOTDIR)


class MaskedPaths(Step):
    __slots__ = ("paths",)
    syscall = "openat2(2), open_tree(2), move_mount(2)"
    why = "the kernel shows things there that are none of a container's business"

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def describe(self) -> str:
        return "mask " + " ".join(self.paths)

    def run(self, ctx: Context) -> None:
        for target in _there(ctx, self.paths):
            _mask(ctx, target)


def _there(ctx: Context, paths: list[str]) -> Iterator[int]:
    """Those that exist, one after the other: a descriptor of each, for as long as it is the caller's turn."""
    for path in paths:
        try:
            target = ctx.root.resolve(path)
        except OSError as error:
            if error.errno in _MISSING:
                continue
            raise
        yield target
        os.close(target)


def _mask(ctx: Context, target: int) -> None:
    if stat.S_ISDIR(os.fstat(target).st_mode):
        if ctx.empty_dir < 0:
            ctx.empty_dir = m.detached("tmpfs", ["source=tmpfs", "nr_blocks=1", "nr_inodes=1", "mode=555"],
                                       m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV)
            m.move_mount(ctx.empty_dir, target)
            return
        tree = m.open_tree(ctx.empty_dir, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
    else:
        tree = m.open_tree(ctx.null, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
        m.mount_setattr(tree, set=m.MOUNT_ATTR_RDONLY)  # else chmod(2) of the mask is chmod of the machine's /dev/null
    m.move_mount(tree, target)
    os.close(tree)


class ReadonlyPaths(Step):
    __slots__ = ("paths",)
    syscall = "openat2(2), open_tree(2), mount_setattr(2), move_mount(2)"
    why = "readable, but not for writing: settings of the kernel that hold for the whole machine"

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def describe(self) -> str:
        return "make read-only " + " ".join(self.paths)

    def run(self, ctx: Context) -> None:
        for target in _there(ctx, self.paths):
            tree = m.open_tree(target, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH | m.AT_RECURSIVE)
            m.mount_setattr(tree, set=m.MOUNT_ATTR_RDONLY, recursive=True)
            m.move_mount(tree, target)
            os.close(tree)
