"""A complete Linux program, assembled here: it prints a text and exits with 0.

`hello-world` needs a program that runs in an empty file system. No compiler is involved: the file
is an ELF header, one program header, nine instructions and the text.

    +----------------+ 0x400000 (one PT_LOAD, read + execute)
    | ELF header     | 64 bytes, entry = 0x400078
    | program header | 56 bytes
    | instructions   | write(1, text, len); exit(0)
    | text           |
    +----------------+
"""

from __future__ import annotations

import struct
from collections.abc import Callable

_BASE = 0x400000
_HEADERS = 64 + 56


def _x86_64(length: int) -> bytes:
    tail = bytes.fromhex("0f05" "b83c000000" "31ff" "0f05")  # syscall; mov eax,60; xor edi,edi; syscall
    head = bytes.fromhex("b801000000" "bf01000000")  # mov eax,1 (write); mov edi,1 (stdout)
    count = b"\xba" + struct.pack("<I", length)  # mov edx,length
    text = b"\x48\x8d\x35" + struct.pack("<i", len(count) + len(tail))  # lea rsi,[rip+distance]
    return head + text + count + tail


def _aarch64(length: int) -> bytes:
    words = [
        0xD2800808,  # mov x8, #64 (write)
        0xD2800020,  # mov x0, #1 (stdout)
        0x100000C1,  # adr x1, .+24 (the text, six instructions on)
        0xD2800002 | (length & 0xFFFF) << 5,  # mov x2, #length
        0xD4000001,  # svc #0
        0xD2800BA8,  # mov x8, #93 (exit)
        0xD2800000,  # mov x0, #0
        0xD4000001,  # svc #0
    ]
    return struct.pack(f"<{len(words)}I", *words)


_MACHINES: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "amd64": (62, _x86_64),
    "arm64": (183, _aarch64),
}


def printer(text: str, architecture: str) -> bytes:
    """The program's bytes. ``architecture`` is an OCI name (amd64, arm64); others raise KeyError.

    The text may have up to 4,095 bytes, so that one write to a pipe takes it whole (pipe(7), PIPE_BUF).
    """
    machine, assemble = _MACHINES[architecture]
    data = text.encode()
    if len(data) > 4095:
        raise ValueError(f"text too long for one write: {len(data)} bytes")
    body = assemble(len(data)) + data
    size = _HEADERS + len(body)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + body
