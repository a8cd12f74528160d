"""The C library's heap: malloc(3), free(3), mallinfo2(3), sbrk(2)."""

from __future__ import annotations

import ctypes

from kist.linux.libc import libc

_malloc = libc.malloc
_malloc.argtypes = (ctypes.c_size_t,)
_malloc.restype = ctypes.c_void_p
_free = libc.free
_free.argtypes = (ctypes.c_void_p,)
_free.restype = None
_sbrk = libc.sbrk
_sbrk.argtypes = (ctypes.c_ssize_t,)
_sbrk.restype = ctypes.c_void_p


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]


def malloc(size: int) -> int:
    """The address of so many bytes. Raises MemoryError."""
    address: int | None = _malloc(size)
    if address is None:
        raise MemoryError
    return address


def free(address: int) -> None:
    _free(address)


def end_of_use() -> int | None:
    """The address from which on nothing of the heap has been given away yet; None without glibc 2.33's mallinfo2(3)."""
    try:
        mallinfo2 = libc.mallinfo2
    except AttributeError:
        return None
    mallinfo2.restype = _Mallinfo2
    end: int = _sbrk(0)
    keepcost: int = mallinfo2().keepcost  # the bytes at the end that are free
    return end - keepcost
