"""Steps for the root file system: mount it, open it, move into it."""

from __future__ import annotations

import os

from kist.linux import mount as m
from kist.linux.openat2 import Root
from kist.linux.statfs import PROC_SUPER_MAGIC, magic
from kist.runtime.errors import SpecError, StepError
from kist.runtime.options import PROPAGATION, parse
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class HostView(Step):
    """What is needed of the host is opened before anything of the container is: later look-ups can't be
    led astray (CVE-2025-31133, CVE-2025-52881: a /dev/null or a procfs that was none)."""

    syscall = "open(2), fstatfs(2)"
    why = "descriptors of the host's /proc and /dev/null, verified, so that no later path can redirect them"

    def describe(self) -> str:
        return "open the host's /proc and /dev/null"

    def run(self, ctx: Context) -> None:
        ctx.proc = open_proc("/proc")
        ctx.null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
        if not is_null(ctx.null):
            raise StepError(f"{self.describe()}: /dev/null is not the null device")


def open_proc(path: str) -> Root:
    root = Root.at(path)
    if magic(root.fd) != PROC_SUPER_MAGIC:
        raise StepError(f"{path} is not procfs")
    return root


def is_null(fd: int) -> bool:
    stat = os.fstat(fd)
    return stat.st_mode & 0o170000 == 0o020000 and stat.st_rdev == os.makedev(1, 3)


class Propagation(Step):
    """runtime-spec 1.2, config-linux.md#rootfs-mount-propagation."""

    __slots__ = ("word",)
    syscall = "mount(2)"
    why = "mounts made in here must not appear on the host"

    def __init__(self, word: str) -> None:
        if word not in PROPAGATION:
            raise SpecError(f"linux.rootfsPropagation: unknown value {word!r}")
        self.word = word

    def describe(self) -> str:
        return f"make every mount {self.word}"

    def run(self, ctx: Context) -> None:
        flag, recursive = PROPAGATION[self.word]
        m.mount("", "/", None, flag | (m.MS_REC if recursive else 0))


class PrivateParent(Step):
    """With a tree that may be shared: pivot_root(2) refuses a new root whose parent mount is."""

    __slots__ = ("path",)
    syscall = "mount(2)"
    why = "pivot_root refuses a root below a shared mount"

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return "make the mount that holds the root private"

    def run(self, ctx: Context) -> None:
        path = os.path.realpath(self.path)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            points = [line.split(" ")[4].replace("\\040", " ") for line in file]
        holding = [point for point in points if path == point or path.startswith(point.rstrip("/") + "/")]
        m.mount("", max(holding, key=len), None, m.MS_PRIVATE)


class MountRootfs(Step):
    """Kist's own section ``kist.rootfs``: the root's file systems are mounted in here, not on the host."""

    __slots__ = ("key", "mount", "path")
    syscall = "fsopen(2), fsconfig(2), fsmount(2), move_mount(2)"
    why = "the image's layers, read-only, under the container's own writable one; vanishes with the container"

    def __init__(self, mount: dict[str, Any], path: str, key: int) -> None:
        self.mount = mount
        self.path = path
        self.key = key  # in Context.sources

    def describe(self) -> str:
        return f"mount {self.mount['type']} on the root"

    def prepare(self, ctx: Context) -> None:
        if ctx.from_outside:
            ctx.sources[self.key] = root_tree(self.mount)

    def run(self, ctx: Context) -> None:
        tree = ctx.sources.get(self.key)
        by_path = _by_path(self.mount) if tree is None else None
        if by_path is not None:
            mount_by_path(self.mount, *by_path, self.path)
            return
        if tree is None:
            tree = root_tree(self.mount)
        target = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        m.move_mount(tree, target)
        os.close(target)
        os.close(tree)


class EmptyFile(Step):
    """Kist's own section ``kist.files``: names that are to exist in the root; what is there already stays."""

    __slots__ = ("path",)
    syscall = "openat2(2)"
    why = "programs look for it"

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"make {self.path}"

    def run(self, ctx: Context) -> None:
        try:
            ctx.root.stat(self.path, follow=False)
        except FileNotFoundError:
            os.close(ctx.root.create_file(self.path, 0o755))


def _by_path(mount: dict[str, Any]) -> tuple[str, list[str]] | None:
    """fsconfig(2) bounds a value to 255 bytes, and mount(2) all values together to a page. Between them, mount(2)
    serves also kernels that can't take overlay's lower directories one by one (before Linux 6.5): (working
    directory, options), the layers' paths being relative to their common directory where that is needed."""
    options = parse(mount.get("options") or []).data
    if fit_fsconfig(options):
        return None
    if fit_a_page(options):
        return "/", options
    lower = next((option[9:].split(":") for option in options if option.startswith("lowerdir=/")), [])
    if len(lower) < 2:
        return None
    common = os.path.commonpath(lower)
    relative = "lowerdir=" + ":".join(os.path.relpath(layer, common) for layer in lower)
    shorter = [relative if option.startswith("lowerdir=") else option for option in options]
    return (common, shorter) if fit_a_page(shorter) else None


def fit_fsconfig(options: list[str]) -> bool:
    """fsconfig(2) bounds the value of an option to 255 bytes."""
    return all(len(option) < 250 for option in options)


def fit_a_page(options: list[str]) -> bool:
    """mount(2)'s bound."""
    return sum(map(len, options)) + len(options) < 4000


def mount_by_path(mount: dict[str, Any], directory: str, options: list[str], path: str) -> None:
    path = os.path.abspath(path)
    os.chdir(directory)
    m.mount(mount.get("source") or mount["type"], path, mount["type"], 0, ",".join(options))
    attributes = parse(mount.get("options") or []).set
    if attributes:
        with Root.at(path) as root:
            m.mount_setattr(root.fd, set=attributes)


def root_tree(mount: dict[str, Any]) -> int:
    """The detached mount; overlay's lower directories one by one where they are too long for one option."""
    options = parse(mount.get("options") or [])
    if mount["type"] == "bind" or options.bind:
        tree = m.open_tree(m.AT_FDCWD, mount["source"],
                           m.OPEN_TREE_CLONE | (m.AT_RECURSIVE if options.recursive else 0))
        if options.set or options.clear:
            m.mount_setattr(tree, set=options.set, clear=options.clear)
        return tree
    data = []
    for option in options.data:
        if option.startswith("lowerdir=") and len(option) > 250:
            data += [f"lowerdir+={layer}" for layer in option[9:].split(":")]
        else:
            data.append(option)
    return m.detached(mount["type"], [f"source={mount.get('source') or mount['type']}", *data], options.set)


def open_outside(tree: int) -> int:
    """A clone made with the creator's privilege and in its mount namespace, so it must not propagate back."""
    m.mount_setattr(tree, propagation=m.MS_SLAVE, recursive=True)
    return tree


class BindRoot(Step):
    """pivot_root(2) wants a mount point."""

    __slots__ = ("path",)
    syscall = "open_tree(2), move_mount(2)"
    why = "pivot_root wants the new root to be a mount of its own"

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"bind the root {self.path} on itself"

    def prepare(self, ctx: Context) -> None:
        if ctx.from_outside:
            ctx.sources[-1] = open_outside(
                m.open_tree(m.AT_FDCWD, self.path, m.OPEN_TREE_CLONE | m.AT_RECURSIVE))

    def run(self, ctx: Context) -> None:
        tree = ctx.sources.get(-1)
        if tree is None:
            tree = m.open_tree(m.AT_FDCWD, self.path, m.OPEN_TREE_CLONE | m.AT_RECURSIVE)
        target = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        m.move_mount(tree, target)
        os.close(target)
        os.close(tree)


class OpenRoot(Step):
    """Every later path is resolved below this descriptor."""

    __slots__ = ("path",)
    syscall = "open(2)"
    why = "from here on every path of the container is resolved by openat2(2) below this descriptor"

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return "open the root"

    def run(self, ctx: Context) -> None:
        ctx.root = Root.at(self.path)


class ReadonlyRoot(Step):
    syscall = "mount_setattr(2)"
    why = "root.readonly"

    def describe(self) -> str:
        return "make the root read-only"

    def run(self, ctx: Context) -> None:
        m.mount_setattr(ctx.root.fd, set=m.MOUNT_ATTR_RDONLY)


class PivotRoot(Step):
    """The old root lands on the same point and is detached: it is out of reach then (pivot_root(2), NOTES)."""

    __slots__ = ("slave",)
    syscall = "pivot_root(2), umount2(2)"
    why = "the container's root becomes /, and the host's tree is gone from this mount namespace"

    def __init__(self, *, slave: bool) -> None:
        self.slave = slave

    def describe(self) -> str:
        return "pivot_root into the container's root"

    def run(self, ctx: Context) -> None:
        old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(ctx.root.fd)
        m.pivot_root(".", ".")
        os.fchdir(old)  # "." would be the new root, to all but umount2(2)
        os.close(old)
        if self.slave:  # mounts that are shared with the host's would be taken off there, too
            m.mount("", ".", None, m.MS_SLAVE | m.MS_REC)
        m.umount2(".", m.MNT_DETACH)
        os.chdir("/")


class MoveRoot(Step):
    """``--no-pivot``, for a host that runs from its initramfs."""

    syscall = "mount(2), chroot(2)"
    why = "as pivot_root, where the host's root can't be moved (initramfs)"

    def describe(self) -> str:
        return "move the root to / and chroot"

    def run(self, ctx: Context) -> None:
        os.fchdir(ctx.root.fd)
        m.mount(".", "/", None, m.MS_MOVE)
        os.chroot(".")
        os.chdir("/")


class Chroot(Step):
    """Without a mount namespace of its own there is no root to pivot."""

    syscall = "chroot(2)"
    why = "no mount namespace is asked for"

    def describe(self) -> str:
        return "chroot into the container's root"

    def run(self, ctx: Context) -> None:
        os.fchdir(ctx.root.fd)
        os.chroot(".")
        os.chdir("/")


class RootPropagation(Step):
    """The root mount's own propagation, set when it is /."""

    __slots__ = ("word",)
    syscall = "mount(2)"
    why = "linux.rootfsPropagation"

    def __init__(self, word: str) -> None:
        self.word = word

    def describe(self) -> str:
        return f"make the root {self.word}"

    def run(self, ctx: Context) -> None:
        flag, recursive = PROPAGATION[self.word]
        m.mount("", "/", None, flag | (m.MS_REC if recursive else 0))
