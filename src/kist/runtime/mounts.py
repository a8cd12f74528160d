"""Steps for the specification's ``mounts``: each is made detached, gets its flags, then its place.

The place is resolved below the root's descriptor; missing directories (or, for a file to bind, an empty file)
are made there. Nothing of the container's content is trusted: proc and sysfs go on plain directories only,
and nothing may be mounted over procfs' own files but a short list (CVE-2019-16884, CVE-2025-52881).
"""

from __future__ import annotations

import errno
import os
import stat

from kist.linux import mount as m
from kist.linux.namespaces import CLONE_NEWUSER, clone3, ns_path
from kist.linux.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, Root, openat2
from kist.linux.statfs import PROC_SUPER_MAGIC, magic
from kist.runtime.copyup import copy_up
from kist.runtime.errors import SpecError, StepError
from kist.runtime.options import SUPERBLOCK, Options, parse
from kist.runtime.root import fit_a_page, fit_fsconfig, open_outside
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What may be put over procfs (lxcfs and the like); all else there is the kernel's.
PROC_FILES = {"/proc/" + name for name in (
    "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo",
    "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled")}
_UNLABELLED = ("proc", "sysfs", "mqueue", "cgroup", "cgroup2")  # the kernel labels these itself


def normal(path: str) -> str:
    """``path`` as absolute path without "." and ".." (textually, as "/" were its root)."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


class Mount(Step):
    """A new file system: proc, sysfs, tmpfs, devpts, mqueue, or any that the kernel knows."""

    __slots__ = ("destination", "label", "late", "options", "source", "type")
    syscall = "fsopen(2), fsconfig(2), fsmount(2), move_mount(2)"
    why = "asked for by the specification's mounts"

    def __init__(self, mount: dict[str, Any], options: Options, label: str = "") -> None:
        self.destination = normal(mount["destination"])
        self.type: str = mount.get("type") or ""
        if not self.type or self.type == "none":
            raise SpecError(f"mount {self.destination}: no type given")
        if self.destination == "/proc" and self.type != "proc":
            raise SpecError(f"mount {self.type} on /proc: it is not procfs")
        self.source: str = mount.get("source") or self.type
        self.options = options
        self.late = False  # it becomes read-only by a step of its own
        self.label = "" if self.type in _UNLABELLED else label

    def describe(self) -> str:
        return f"mount {self.type} on {self.destination}"

    def run(self, ctx: Context) -> None:
        given = {word.partition("=")[0] for word in self.options.data}
        was_there = self.type == "tmpfs" and (self.options.copy_up or "mode" not in given) and ctx.root.exists(
            self.destination)
        target = self._target(ctx)
        if fit_fsconfig(self.options.data):
            # As by the peers a tmpfs looks like what it covers; one in a new place is open to all (tmpfs(5)).
            like = [f"mode={os.fstat(target).st_mode & 0o7777:o}"] if was_there and "mode" not in given else []
            tree = m.detached(self.type, [*self._words(), *like], self._attributes())
            if self.options.copy_up:
                self._fill(tree, target if was_there else -1, given)
            m.move_mount(tree, target)
        else:
            tree = self._by_path(ctx, target)
        finish(tree, self.options)
        os.close(target)
        os.close(tree)

    def _fill(self, tree: int, covered: int, given: set[str]) -> None:
        if covered >= 0:
            copy_up(covered, tree, given)
        if self.readonly and not self.late:
            m.mount_setattr(tree, set=m.MOUNT_ATTR_RDONLY)

    def _by_path(self, ctx: Context, target: int) -> int:
        """mount(2) takes longer options: the directories of an overlay (Podman's ``--mount type=image``)."""
        if not fit_a_page(self.options.data):
            raise OSError(errno.EINVAL, "its options are longer than a page")
        m.mount(self.source, f"/proc/self/fd/{target}", self.type, 0, ",".join(self._words()[1:]))
        tree = ctx.root.resolve(self.destination)
        m.mount_setattr(tree, set=self._attributes())
        return tree

    def _target(self, ctx: Context) -> int:
        target = ctx.root.mkdirs(self.destination)
        if self.type in ("proc", "sysfs"):
            os.close(target)  # it exists now; a link on the way would put the kernel's files elsewhere
            target = openat2(ctx.root.fd, self.destination, os.O_PATH | os.O_DIRECTORY, 0,
                             RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
        check_place(self.source, self.destination, target)
        return target

    def _words(self) -> list[str]:
        context = [f"context={self.label}"] if self.label else []
        return [f"source={self.source}", *context, *self.options.data]

    @property
    def readonly(self) -> bool:
        return bool(self.options.set & m.MOUNT_ATTR_RDONLY)

    def _attributes(self) -> int:
        """/dev stays writable until its nodes are made; so does a tmpfs that is to be filled, or mounted in."""
        if self.destination == "/dev" or self.options.copy_up or self.late:
            return self.options.set & ~m.MOUNT_ATTR_RDONLY
        return self.options.set


def check_place(source: str, destination: str, target: int) -> None:
    """What the destination leads to, by a link of the image's."""
    if magic(target) == PROC_SUPER_MAGIC:
        raise StepError(f"mount {source} on {destination}: nothing may be mounted inside /proc")


def finish(tree: int, options: Options) -> None:
    """What concerns the tree as a whole, or must not be undone by attaching it to a shared parent."""
    if options.rec_set or options.rec_clear:
        m.mount_setattr(tree, set=options.rec_set, clear=options.rec_clear, recursive=True)
    for propagation, recursive in options.propagation:
        m.mount_setattr(tree, propagation=propagation, recursive=recursive)


class Bind(Step):
    """A tree of the host, or a file of it, inside the container."""

    __slots__ = ("destination", "idmap", "index", "options", "source", "subpath")
    syscall = "open_tree(2), mount_setattr(2), move_mount(2)"
    why = "a bind mount asked for by the specification's mounts"

    def __init__(self, mount: dict[str, Any], options: Options, bundle: str, index: int) -> None:
        self.destination = normal(mount["destination"])
        if not mount.get("source"):
            raise SpecError(f"mount {self.destination}: a bind mount needs a source")
        self.source = os.path.join(bundle, mount["source"])
        self.subpath: str = (mount.get("kist") or {}).get("subpath") or ""
        self.options = options
        self.index = index
        self.idmap = idmap(mount, options)

    def describe(self) -> str:
        source = f"{self.subpath} of {self.source}" if self.subpath else self.source
        return f"bind {source} on {self.destination}"

    def prepare(self, ctx: Context) -> None:
        """In a user namespace the source may be out of reach, and id mappings take the host's privilege."""
        if not ctx.from_outside and self.idmap is None:
            return
        tree = open_outside(self.open_source())
        ctx.sources[self.index] = tree
        if self.idmap is not None:
            linux = ctx.spec.get("linux") or {}
            if not self.idmap and not linux.get("uidMappings"):
                raise OSError(errno.EINVAL, "idmap: neither the mount nor the container has id mappings")
            maps = self.idmap or (mapping_lines(linux.get("uidMappings") or []),
                                  mapping_lines(linux.get("gidMappings") or []))
            userns = user_namespace(*maps)
            try:
                m.mount_setattr(tree, set=m.MOUNT_ATTR_IDMAP, userns_fd=userns, recursive=self.options.tree_idmap)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    raise OSError(errno.EINVAL, "the file system takes no id mappings") from None
                raise
            finally:
                os.close(userns)

    def run(self, ctx: Context) -> None:
        tree = ctx.sources.get(self.index)
        if tree is None:
            tree = self.open_source()
        if self.options.set or self.options.clear:
            m.mount_setattr(tree, set=self.options.set, clear=self.options.clear)
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            target = ctx.root.mkdirs(self.destination)
        else:
            target = ctx.root.create_file(self.destination)
        self._check_proc(tree, target)
        self._place(tree, target)
        finish(tree, self.options)
        os.close(target)
        os.close(tree)

    @staticmethod
    def _place(tree: int, target: int) -> None:
        try:
            m.move_mount(tree, target)
        except OSError as error:
            if error.errno == errno.EINVAL and stat.S_ISDIR(os.fstat(target).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
            raise

    def _check_proc(self, tree: int, target: int) -> None:
        """Only procfs goes to /proc, and nothing into it, by a link of the image's neither."""
        if self.destination == "/proc":
            if magic(tree) != PROC_SUPER_MAGIC:
                raise StepError(f"mount {self.source} on /proc: it is not procfs")
        elif self.destination not in PROC_FILES:
            check_place(self.source, self.destination, target)

    def open_source(self) -> int:
        """A clone of the tree. Kist's own ``kist.subpath`` is looked up inside of the source as if that were "/":
        others who may write there can't lead it out by a link."""
        flags = m.OPEN_TREE_CLONE | (m.AT_RECURSIVE if self.options.recursive else 0)
        if not self.subpath:
            return m.open_tree(m.AT_FDCWD, self.source, flags)
        with Root.at(self.source) as source:
            found = source.resolve(self.subpath)
        try:
            return m.open_tree(found, "", flags | m.AT_EMPTY_PATH)
        finally:
            os.close(found)


def idmap(mount: dict[str, Any], options: Options) -> tuple[str, str] | tuple[()] | None:
    """None without idmap; () for the container's own maps; else the lines of uid_map and gid_map
    (runtime-spec 1.2, config.md#posix-platform-mounts: uidMappings and gidMappings)."""
    uids, gids = mount.get("uidMappings") or [], mount.get("gidMappings") or []
    if not (uids or gids or options.idmap):
        return None
    if bool(uids) != bool(gids):
        raise SpecError(f"mount {mount['destination']}: uidMappings and gidMappings go together")
    return (mapping_lines(uids), mapping_lines(gids)) if uids else ()


def user_namespace(uid_map: str, gid_map: str) -> int:
    """A descriptor of a user namespace with these maps: a child that does nothing but hold it for a moment."""
    ready, release = os.pipe()
    pid, pidfd = clone3(CLONE_NEWUSER)
    if pid == 0:
        os.close(release)
        os.read(ready, 1)
        os._exit(0)
    try:
        for name, lines in (("uid_map", uid_map), ("gid_map", gid_map)):
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, lines.encode())
            finally:
                os.close(fd)
        return os.open(ns_path(pid, "user"), os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready)
        os.close(release)
        os.waitpid(pid, 0)
        os.close(pidfd)


def mapping_lines(mappings: list[dict[str, int]]) -> str:
    """The lines for /proc/PID/uid_map (user_namespaces(7))."""
    return "".join(f"{e['containerID']} {e['hostID']} {e['size']}\n" for e in mappings)


class RemountReadonly(Step):
    """For a mount that had to stay writable for a while."""

    __slots__ = ("destination",)
    syscall = "mount_setattr(2)"
    why = "the mount is read-only; it had to be writable until its content was made"

    def __init__(self, destination: str) -> None:
        self.destination = destination

    def describe(self) -> str:
        return f"make {self.destination} read-only"

    def run(self, ctx: Context) -> None:
        fd = ctx.root.resolve(self.destination)
        m.mount_setattr(fd, set=m.MOUNT_ATTR_RDONLY)
        os.close(fd)


def steps_for(mount: dict[str, Any], bundle: str, index: int, cgroup_steps: Any, label: str = "") -> list[Step]:
    """The steps of one entry of ``mounts``; ``label`` is linux.mountLabel."""
    if not isinstance(mount.get("destination"), str) or not mount["destination"]:
        raise SpecError(f"mounts[{index}]: no destination")
    options = parse(mount.get("options") or [])
    options.data = [word for word in options.data if word not in SUPERBLOCK] + [
        word for word in options.data if word in SUPERBLOCK]
    kind = mount.get("type")
    destination = normal(mount["destination"])
    if destination.startswith("/proc/") and destination not in PROC_FILES:
        raise SpecError(f"mount {mount.get('source')} on {destination}: nothing may be mounted inside /proc")
    if kind == "cgroup" or (kind == "cgroup2" and not options.bind):
        made: list[Step] = cgroup_steps(destination, options)
        return made
    if options.bind or kind == "bind":
        options.bind = True
        return [Bind(mount, options, bundle, index)]
    if options.idmap or mount.get("uidMappings"):
        raise SpecError(f"mount {mount['destination']}: id mappings are for bind mounts")
    return [Mount(mount, options, label)]
