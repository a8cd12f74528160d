"""renameat2(2)."""

from __future__ import annotations

import ctypes
import os

from kist.linux.libc import fail, libc

RENAME_EXCHANGE = 2
_AT_FDCWD = -100

_renameat2 = libc.renameat2
_renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


def exchange(one: str, other: str) -> None:
    """Each gets the other's name, in one step."""
    if _renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) < 0:
        raise fail(one, other)
