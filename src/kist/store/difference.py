"""Are two trees of files the same, whatever a container could see of them?"""

from __future__ import annotations

import errno
import os
import stat
from itertools import zip_longest

from kist.store.tree import Node, walk

_CHUNK = 1 << 20


def difference(wanted: str, found: str) -> str | None:
    """The first difference between two trees, in words; None if they are equal."""
    one = os.open(wanted, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    two = os.open(found, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for a, b in zip_longest(walk(one), walk(two)):
            if b is None or (a is not None and a.path < b.path):
                return f"/{os.fsdecode(a.path)} is missing"
            if a is None or a.path != b.path:
                return f"/{os.fsdecode(b.path)} doesn't belong there"
            if (problem := _problem(a, b)) is not None:
                return f"/{os.fsdecode(a.path)}: {problem}"
    finally:
        os.close(one)
        os.close(two)
    return None


_SAME = {"st_mode": "mode or type", "st_uid": "owner", "st_gid": "group", "st_rdev": "device number"}


def _problem(a: Node, b: Node) -> str | None:
    try:
        return _differ(a, b)
    except OSError as error:
        return f"can't be read: {error.strerror}"


def _differ(a: Node, b: Node) -> str | None:
    for field, words in _SAME.items():
        if getattr(a.stat, field) != getattr(b.stat, field):
            return f"another {words}"
    if _attributes(a) != _attributes(b):
        return "other extended attributes"
    if stat.S_ISLNK(a.stat.st_mode):
        links = [os.readlink(node.name, dir_fd=node.directory) for node in (a, b)]
        return None if links[0] == links[1] else "another target"
    if not stat.S_ISREG(a.stat.st_mode):
        return None
    if a.stat.st_size != b.stat.st_size:
        return "another size"
    return None if _same_bytes(a, b) else "other bytes"


def _attributes(node: Node) -> dict[str, bytes]:
    """But for the label that SELinux gives each file by itself."""
    path = f"/proc/self/fd/{node.directory}/{os.fsdecode(node.name)}"
    try:
        return {name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False) if name != "security.selinux"}
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return {}
        raise


def _same_bytes(a: Node, b: Node) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    one = os.open(a.name, flags, dir_fd=a.directory)
    try:
        two = os.open(b.name, flags, dir_fd=b.directory)
        try:
            while piece := os.read(one, _CHUNK):
                if os.read(two, _CHUNK) != piece:
                    return False
            return True
        finally:
            os.close(two)
    finally:
        os.close(one)
