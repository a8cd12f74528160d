"""``kist.storageQuota``: a bound for the writable layer, on any file system.

    "kist": {"storageQuota": {"image": "/…/quota.img", "size": 1073741824},
             "rootfs": [{"type": "overlay", … upperdir=QUOTA/upper, workdir=QUOTA/work}]}

Project quotas need a file system that was made for them. So the writable layer lies in a file system of its own: a
sparse image of the size asked for, made once (mkfs.ext4), attached to a loop device that lets go of itself when the
last mount is gone, and mounted inside the container's mount namespace only. A write past it gets ENOSPC. The word
``QUOTA`` at the begin of an overlay directory stands for where it is mounted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from kist.linux import mount as m
from kist.runtime.errors import SpecError, StepError
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO = 4, 16
MINIMUM = 4 << 20
_KEY = -1000  # in Context.sources
_MKFS = ("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard")


def _mkfs() -> str:
    return next((path for path in ("/sbin/mkfs.ext4", "/usr/sbin/mkfs.ext4") if os.path.exists(path)), _MKFS[0])


def make_image(path: str, size: int) -> None:
    """The sparse image, complete or not there at all: made aside, then renamed."""
    if size < MINIMUM:
        raise SpecError(f"kist.storageQuota.size: at least {MINIMUM} bytes are needed")
    staging = f"{path}.new"
    fd = os.open(staging, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, size)
    finally:
        os.close(fd)
    try:
        pid = os.posix_spawnp(_mkfs(), [*_MKFS, staging], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    except FileNotFoundError:
        os.unlink(staging)
        raise StepError("make the quota's file system: mkfs.ext4 is missing (Debian: apt install e2fsprogs)",
                        errno.ENOENT) from None
    if os.waitpid(pid, 0)[1]:
        os.unlink(staging)
        raise StepError("make the quota's file system: mkfs.ext4 failed")
    os.replace(staging, path)


def attach(path: str) -> int:
    """A loop device with the image, which is free again after its last user. Another process may take the number that
    was free a moment ago: then the next one is tried."""
    image = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(64):
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            loop = _open_loop(number)
            # struct loop_config: fd, block_size, loop_info64 (232 bytes; lo_flags at 52), reserved
            info = bytearray(232)
            struct.pack_into("=I", info, 52, LO_FLAGS_AUTOCLEAR)
            config = struct.pack("=II", image, 0) + bytes(info) + bytes(64)
            try:
                fcntl.ioctl(loop, LOOP_CONFIGURE, config)
                return loop
            except OSError as error:
                os.close(loop)
                if error.errno != errno.EBUSY:
                    raise
        raise OSError(errno.EBUSY, "no loop device is free", path)
    finally:
        os.close(control)
        os.close(image)


def _open_loop(number: int) -> int:
    path = f"/dev/loop{number}"
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # a /dev that is no devtmpfs: make the node
        os.mknod(path, 0o060600, os.makedev(7, number))
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)


class StorageQuota(Step):
    """Mounts the image on the root's place; the overlay then covers it."""

    __slots__ = ("image", "path", "size")
    syscall = "ioctl LOOP_CONFIGURE, fsopen(2), fsmount(2), move_mount(2)"
    why = "the writable layer's file system of bounded size"

    def __init__(self, section: dict[str, Any], path: str) -> None:
        self.image = section["image"]
        self.size = section["size"]
        self.path = path

    def describe(self) -> str:
        return f"mount the writable layer of {self.size} bytes"

    def prepare(self, ctx: Context) -> None:
        """By the creator: the device rules of the container's control group don't allow loop devices."""
        if not os.path.exists(self.image):
            make_image(self.image, self.size)
        loop = attach(self.image)
        try:
            ctx.sources[_KEY] = m.detached("ext4", [f"source={os.readlink(f'/proc/self/fd/{loop}')}"])
        finally:
            os.close(loop)

    def run(self, ctx: Context) -> None:
        target = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        m.move_mount(ctx.sources[_KEY], target)
        os.close(target)
        for name in ("upper", "work"):
            try:
                os.mkdir(f"{self.path}/{name}", 0o755)
            except FileExistsError:
                pass


def with_quota(mounts: list[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """The overlay's options with ``QUOTA`` replaced."""
    return [{**mount, "options": [option.replace("dir=QUOTA/", f"dir={path}/") for option in mount["options"]]}
            for mount in mounts]
