"""A static executable around machine code. Pure.

::

    0x0000  ELF header, three program headers           elf(5)
    0x0100  code and constants                          mapped at CODE, readable and executable
            (no bytes)                                  DATA: zeroed memory, readable and writable
            (no bytes)                                  the stack: not executable
"""

from __future__ import annotations

import struct

from kist.linux.machine import CODE, DATA, HEADER, Machine

MEMORY = 0x60000  # bytes at DATA; only pages that are touched cost anything
_EXEC, _CURRENT, _PT_LOAD, _PT_GNU_STACK = 2, 1, 1, 0x6474E551
_R, _W, _X = 4, 2, 1
_ALIGN = 0x10000  # the largest page of any machine


def executable(machine: Machine) -> bytes:
    content = machine.finish()
    size = HEADER + len(content)
    segments = (
        struct.pack("<IIQQQQQQ", _PT_LOAD, _R | _X, 0, CODE, CODE, size, size, _ALIGN),
        struct.pack("<IIQQQQQQ", _PT_LOAD, _R | _W, 0, DATA, DATA, 0, MEMORY, _ALIGN),
        struct.pack("<IIQQQQQQ", _PT_GNU_STACK, _R | _W, 0, 0, 0, 0, 0, 16),
    )
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", _EXEC, machine.elf, _CURRENT,
                         CODE + HEADER, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    return (header + b"".join(segments)).ljust(HEADER, b"\0") + content
