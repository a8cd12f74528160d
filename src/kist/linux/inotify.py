"""inotify(7): changes of files as readable events on a descriptor.

One event as the kernel writes it (native byte order)::

    ┌───────────┬────────────┬──────────────┬───────────┬─────────────────────┐
    │ wd  int32 │ mask uint32│ cookie uint32│ len uint32│ name, NUL-padded len│
    └───────────┴────────────┴──────────────┴───────────┴─────────────────────┘
"""

from __future__ import annotations

import ctypes
import os
import struct

IN_ACCESS = 0x1
IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_CLOEXEC = 0o2000000
IN_NONBLOCK = 0o4000

_HEAD = struct.Struct("=iIII")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_init1.argtypes = (ctypes.c_int,)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_libc.inotify_rm_watch.argtypes = (ctypes.c_int, ctypes.c_int)


def inotify_init1(flags: int = IN_CLOEXEC | IN_NONBLOCK) -> int:
    """A new inotify descriptor."""
    return _checked(_libc.inotify_init1(flags), "inotify")


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """Watch `path`; answers the watch descriptor that its events carry."""
    return _checked(_libc.inotify_add_watch(fd, os.fsencode(path), mask), path)


def inotify_rm_watch(fd: int, watch: int) -> None:
    _checked(_libc.inotify_rm_watch(fd, watch), f"inotify watch {watch}")


def read_events(fd: int) -> list[tuple[int, int, str]]:
    """All events that wait, as (watch descriptor, mask, name); empty when none does."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return []
    return parse_events(data)


def parse_events(data: bytes) -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []
    at = 0
    while at + _HEAD.size <= len(data):
        watch, mask, _cookie, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        found.append((watch, mask, os.fsdecode(data[at:at + length].rstrip(b"\0"))))
        at += length
    return found


def _checked(result: int, path: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
