"""A mount of type ``cgroup``: the container's view of its own control groups.

Version 2 is one file system. Version 1 is a tmpfs with a directory per hierarchy, and a link for each controller
that shares one (cpu → cpu,cpuacct).
"""

from __future__ import annotations

import os

from kist.linux import mount as m
from kist.runtime.mounts import finish
from kist.runtime.options import Options
from kist.runtime.step import Context, Step


class CgroupMounts(Step):
    __slots__ = ("destination", "options", "own_namespace")
    syscall = "fsopen(2), fsmount(2), open_tree(2), move_mount(2)"
    why = "the container may see, and with rw manage, its own control groups"

    def __init__(self, destination: str, options: Options, *, own_namespace: bool) -> None:
        self.destination = destination
        self.options = options
        self.own_namespace = own_namespace

    def describe(self) -> str:
        return f"mount cgroup on {self.destination}"

    def run(self, ctx: Context) -> None:
        target = ctx.root.mkdirs(self.destination)
        if ctx.cgroup.layout.kind == "v2":
            tree = self._tree("cgroup2", ["source=cgroup"], ctx.cgroup.paths()[""])
            m.move_mount(tree, target)
        else:
            tree = self._v1(ctx, target)
        finish(tree, self.options)
        os.close(tree)
        os.close(target)

    def _v1(self, ctx: Context, target: int) -> int:
        top = m.detached("tmpfs", ["source=cgroup", "mode=755"], self.options.set & ~m.MOUNT_ATTR_RDONLY)
        m.move_mount(top, target)
        done: dict[str, str] = {}
        for controller, point in ctx.cgroup.layout.v1.items():
            if point in done:
                if controller != done[point] and not controller.startswith("name="):
                    os.symlink(done[point], controller, dir_fd=top)
                continue
            name = os.path.basename(point)
            done[point] = name
            os.mkdir(name, 0o755, dir_fd=top)
            option = f"name={controller[5:]}" if controller.startswith("name=") else None
            words = ["none", option] if option else [word for word, other in ctx.cgroup.layout.v1.items()
                                                     if other == point]
            tree = self._tree("cgroup", ["source=cgroup", *words], ctx.cgroup.paths()[controller])
            m.move_mount(tree, top, name)
            os.close(tree)
            if name != controller and "," in name:
                os.symlink(name, controller, dir_fd=top)
        if self.options.set & m.MOUNT_ATTR_RDONLY:
            m.mount_setattr(top, set=m.MOUNT_ATTR_RDONLY)
        return top

    def _tree(self, fstype: str, words: list[str], host_path: str) -> int:
        """In a cgroup namespace a new mount shows the namespace's root; without, the group is bound."""
        if self.own_namespace:
            return m.detached(fstype, words, self.options.set)
        tree = m.open_tree(m.AT_FDCWD, host_path, m.OPEN_TREE_CLONE)
        if self.options.set:
            m.mount_setattr(tree, set=self.options.set)
        return tree
