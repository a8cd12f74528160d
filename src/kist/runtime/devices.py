"""Steps for /dev: nodes, the links every program expects, the console."""

from __future__ import annotations

import errno
import os
import stat

from kist.linux import mount as m
from kist.linux.openat2 import RESOLVE_BENEATH, openat2
from kist.runtime.errors import SpecError, StepError
from kist.runtime.mounts import normal
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# runtime-spec 1.2, config-linux.md#default-devices
DEFAULT: list[dict[str, Any]] = [
    {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0}
    for path, major, minor in (("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7),
                               ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0))]
# runtime-spec 1.2, runtime-linux.md#dev-symbolic-links
LINKS = (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
         ("stderr", "/proc/self/fd/2"))
# What every container may use, whatever the rules before say, and mknod of anything (without access to it).
ALLOWED = [
    {"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")
] + [
    {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
    for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, None))
]
_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def cgroup_rules(resources: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules for the control group: those given (none: nothing is allowed), and the default devices."""
    return [*(resources.get("devices") or [{"allow": False, "access": "rwm"}]), *ALLOWED]


class Devices(Step):
    """All nodes in one step: they mostly lie in one directory. In a user namespace mknod(2) is refused, so
    the host's nodes are bound."""

    __slots__ = ("bind", "devices")
    syscall = "mknodat(2)"
    why = "the devices every container has, and those asked for"

    def __init__(self, devices: list[dict[str, Any]], *, bind: bool) -> None:
        self.bind = bind
        named = {normal(device["path"]): device for device in DEFAULT}
        for device in devices:
            if device.get("type") not in _TYPES:
                raise SpecError(f"device {device.get('path')}: unknown type {device.get('type')!r}")
            named[normal(device["path"])] = device
        self.devices = named

    def describe(self) -> str:
        return "make the devices " + " ".join(sorted(self.devices))

    def run(self, ctx: Context) -> None:
        made: dict[str, int] = {}
        for path, device in self.devices.items():
            head, _, name = path.rpartition("/")
            if head not in made:
                made[head] = ctx.root.mkdirs(head or "/")
            try:
                bind = self.bind and device["type"] != "p"
                if bind or not _node(made[head], name, device):
                    _bind(made[head], name, _on_the_machine(path, device))
            except OSError as error:
                raise OSError(error.errno, f"{path}: {error.strerror}") from None
        for fd in made.values():
            os.close(fd)


def _bind(parent: int, name: str, node: str) -> None:
    os.close(openat2(parent, name, os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666, RESOLVE_BENEATH))
    target = openat2(parent, name, os.O_PATH | os.O_NOFOLLOW, 0, RESOLVE_BENEATH)
    tree = m.open_tree(m.AT_FDCWD, node, m.OPEN_TREE_CLONE)
    m.move_mount(tree, target)
    os.close(tree)
    os.close(target)


def _on_the_machine(path: str, device: dict[str, Any]) -> str:
    """The machine's node of that device: as a rule it has the same path, else the kernel knows its name."""
    kind, major, minor = _TYPES[device["type"]], device.get("major", 0), device.get("minor", 0)
    for node in (path, _by_number(kind, major, minor)):
        try:
            there = os.stat(node)
        except OSError:
            continue
        if stat.S_IFMT(there.st_mode) == kind and there.st_rdev == os.makedev(major, minor):
            return node
    raise OSError(errno.ENODEV, f"the machine has no node of the device {device['type']} {major}:{minor}")


def _by_number(kind: int, major: int, minor: int) -> str:
    """Below /dev, as devtmpfs names it (sysfs: uevent's DEVNAME); "" if there is none."""
    try:
        with open(f"/sys/dev/{'block' if kind == stat.S_IFBLK else 'char'}/{major}:{minor}/uevent", "rb") as file:
            names = [line[8:] for line in file.read(4096).splitlines() if line.startswith(b"DEVNAME=")]
    except OSError:
        return ""
    return f"/dev/{names[0].decode()}" if names else ""


def _node(parent: int, name: str, device: dict[str, Any]) -> bool:
    """An existing node is fine if it is the same; a link or anything else in its place is an attack or a
    mistake (CVE-2026-41579, CVE-2026-47766). False: nobody in this user namespace may make one."""
    kind = _TYPES[device["type"]]
    number = os.makedev(device.get("major", 0), device.get("minor", 0)) if kind != stat.S_IFIFO else 0
    mode = device.get("fileMode")
    mode = 0o666 if mode is None else mode
    try:
        os.mknod(name, kind | mode & 0o7777, number, dir_fd=parent)
    except FileExistsError:
        there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_IFMT(there.st_mode) != kind or there.st_rdev != number:
            raise StepError(f"make the device {name}: something else is in its place", errno.EEXIST) from None
        return True
    except PermissionError:
        return False
    if device.get("uid") or device.get("gid"):
        os.chown(name, device.get("uid") or 0, device.get("gid") or 0, dir_fd=parent, follow_symlinks=False)
    return True


class Links(Step):
    """Links and /dev/ptmx; what the image has in their place stays."""

    __slots__ = ("ptmx",)
    syscall = "symlinkat(2)"
    why = "programs expect /dev/fd, /dev/stdin, /dev/stdout, /dev/stderr and /dev/ptmx"

    def __init__(self, *, ptmx: bool) -> None:
        self.ptmx = ptmx

    def describe(self) -> str:
        return "make the links in /dev"

    def run(self, ctx: Context) -> None:
        parent = ctx.root.mkdirs("/dev")
        for name, target in LINKS:
            _link(target, name, parent)
        if self.ptmx:
            try:
                os.unlink("ptmx", dir_fd=parent)
            except FileNotFoundError:
                pass
            _link("pts/ptmx", "ptmx", parent)
        os.close(parent)


def _link(target: str, name: str, parent: int) -> None:
    try:
        os.symlink(target, name, dir_fd=parent)
    except FileExistsError:
        pass
