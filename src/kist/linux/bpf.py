"""bpf(2): load a program and attach it to a control group. Only what device rules need.

The attribute is one union; the kernel takes as many bytes of it as we give and reads zeros beyond.
"""

from __future__ import annotations

import ctypes
import struct

from kist.linux.libc import number, syscall

_PROG_LOAD = 5
_PROG_ATTACH = 8
_PROG_DETACH = 9
_PROG_GET_FD_BY_ID = 13
_PROG_QUERY = 16
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_F_ALLOW_MULTI = 2
_F_REPLACE = 4


def _bpf(command: int, attribute: bytes) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attribute, len(attribute))
    result = syscall(number("bpf"), command, buffer, ctypes.c_uint(len(attribute)))
    return result, buffer.raw


def load_device_program(instructions: bytes) -> int:
    """A descriptor of the program; EACCES or EINVAL with the verifier's last words."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_text = ctypes.create_string_buffer(b"Apache")
    log = ctypes.create_string_buffer(65536)

    def attribute(level: int) -> bytes:
        return struct.pack("=IIQQIIQ", _TYPE_CGROUP_DEVICE, len(instructions) // 8, ctypes.addressof(code),
                           ctypes.addressof(license_text), level, len(log) if level else 0,
                           ctypes.addressof(log) if level else 0)
    try:
        fd, _ = _bpf(_PROG_LOAD, attribute(0))
    except OSError as error:
        if error.errno not in (13, 22):
            raise
        try:
            fd, _ = _bpf(_PROG_LOAD, attribute(1))
        except OSError:
            words = log.value.decode(errors="replace").strip().splitlines()[-1:] or [""]
            raise OSError(error.errno, f"bpf verifier: {words[0]}") from None
    return fd


def attach_device(cgroup_fd: int, program_fd: int, replace_fd: int | None = None) -> None:
    flags = _F_ALLOW_MULTI | (_F_REPLACE if replace_fd is not None else 0)
    _bpf(_PROG_ATTACH, struct.pack("=IIIII", cgroup_fd, program_fd, _ATTACH_CGROUP_DEVICE, flags, replace_fd or 0))


def detach_device(cgroup_fd: int, program_fd: int) -> None:
    _bpf(_PROG_DETACH, struct.pack("=III", cgroup_fd, program_fd, _ATTACH_CGROUP_DEVICE))


def attached_device(cgroup_fd: int) -> list[int]:
    """Descriptors of the device programs attached to this group itself."""
    ids = (ctypes.c_uint32 * 64)()
    _result, raw = _bpf(_PROG_QUERY, struct.pack("=IIIIQI", cgroup_fd, _ATTACH_CGROUP_DEVICE, 0, 0,
                                                 ctypes.addressof(ids), 64))
    count = struct.unpack_from("=I", raw, 24)[0]
    return [_bpf(_PROG_GET_FD_BY_ID, struct.pack("=III", ids[i], 0, 0))[0] for i in range(count)]
