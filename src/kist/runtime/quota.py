"""``kist.storageQuota``: a bound for the writable layer, on any file system.

    "kist": {"storageQuota": {"image": "/…/quota.img", "size": 1073741824},
             "rootfs": [{"type": "overlay", … upperdir=QUOTA/upper, workdir=QUOTA/work}]}

Project quotas need a file system that was made for them. So the writable layer lies in a file system of its own: a
sparse image of the size asked for, made once, which is mounted inside the container's mount namespace only
(`linux/ext4.py`). A write past it gets ENOSPC. The word
``QUOTA`` at the begin of an overlay directory stands for where it is mounted.
"""

from __future__ import annotations

import os

from kist.linux import ext4
from kist.linux import mount as m
from kist.runtime.errors import SpecError
from kist.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEY = -1000  # in Context.sources


class StorageQuota(Step):
    """Mounts the image on the root's place; the overlay then covers it."""

    __slots__ = ("image", "path", "size")
    syscall = "ioctl LOOP_CONFIGURE, fsopen(2), fsmount(2), move_mount(2)"
    why = "the writable layer's file system of bounded size"

    def __init__(self, section: dict[str, Any], path: str) -> None:
        self.image = section["image"]
        self.size = section["size"]
        if self.size < ext4.LEAST:
            raise SpecError(f"kist.storageQuota.size: at least {ext4.LEAST} bytes are needed")
        self.path = path

    def describe(self) -> str:
        return f"mount the writable layer of {self.size} bytes"

    def prepare(self, ctx: Context) -> None:
        """By the creator: the device rules of the container's control group don't allow loop devices."""
        if not os.path.exists(self.image):
            ext4.make(self.image, self.size)
        ctx.sources[_KEY] = ext4.mounted(self.image)

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
