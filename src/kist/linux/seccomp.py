"""libseccomp, by ctypes: rules in, BPF program out; and seccomp(2), which loads a program.

The library is opened at the first use: a program compiled earlier needs only seccomp(2).
"""

from __future__ import annotations

import ctypes
import os

from kist.linux.libc import number, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ACT = {
    "SCMP_ACT_KILL": 0x00000000, "SCMP_ACT_KILL_THREAD": 0x00000000, "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000, "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_NOTIFY": 0x7FC00000,
}
CMP = {"SCMP_CMP_NE": 1, "SCMP_CMP_LT": 2, "SCMP_CMP_LE": 3, "SCMP_CMP_EQ": 4, "SCMP_CMP_GE": 5,
       "SCMP_CMP_GT": 6, "SCMP_CMP_MASKED_EQ": 7}
# OCI's names → libseccomp's (seccomp_arch_resolve_name).
ARCH = {"SCMP_ARCH_" + oci: name for oci, name in (
    ("X86", "x86"), ("X86_64", "x86_64"), ("X32", "x32"), ("ARM", "arm"), ("AARCH64", "aarch64"),
    ("MIPS", "mips"), ("MIPS64", "mips64"), ("MIPS64N32", "mips64n32"), ("MIPSEL", "mipsel"),
    ("MIPSEL64", "mipsel64"), ("MIPSEL64N32", "mipsel64n32"), ("PPC", "ppc"), ("PPC64", "ppc64"),
    ("PPC64LE", "ppc64le"), ("S390", "s390"), ("S390X", "s390x"), ("PARISC", "parisc"),
    ("PARISC64", "parisc64"), ("RISCV64", "riscv64"), ("LOONGARCH64", "loongarch64"), ("M68K", "m68k"),
    ("SH", "sh"), ("SHEB", "sheb"))}
FLAG = {"SECCOMP_FILTER_FLAG_TSYNC": 1, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32}
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8

_SECCOMP_SET_MODE_FILTER = 1
_ATTR_BADARCH, _ATTR_NNP, _ATTR_OPTIMIZE = 2, 3, 8
_NR_SCMP_ERROR = -1
_EEXIST, _EDOM = -17, -33


class _Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class MissingLibrary(OSError):
    """libseccomp is not installed."""


def _load() -> Any:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise MissingLibrary(2, "libseccomp is missing (Debian: apt install libseccomp2; "
                                "Fedora: dnf install libseccomp)") from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_arch_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_add.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint,
                                               ctypes.POINTER(_Compare))
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    return library


class Filter:
    """One filter in the making. Errors are OSError with libseccomp's (negative) code as errno."""

    def __init__(self, default_action: int) -> None:
        self._library = _load()
        self._context = self._library.seccomp_init(default_action)
        if not self._context:
            raise OSError(22, f"seccomp_init refuses the action {default_action:#x}")
        self._check(self._library.seccomp_attr_set(self._context, _ATTR_NNP, 0), "seccomp_attr_set")

    def __enter__(self) -> Filter:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.seccomp_release(self._context)

    @staticmethod
    def _check(result: int, what: str) -> None:
        if result < 0:
            raise OSError(-result, f"{what}: {os.strerror(-result)}")

    def optimize(self) -> None:
        """A binary tree instead of a list: fewer instructions per system call."""
        self._library.seccomp_attr_set(self._context, _ATTR_OPTIMIZE, 2)

    def add_arch(self, oci_name: str) -> None:
        token = self._library.seccomp_arch_resolve_name(ARCH[oci_name].encode())
        if token == 0:
            raise OSError(22, f"libseccomp does not know {oci_name}")
        result = self._library.seccomp_arch_add(self._context, token)
        if result not in (0, _EEXIST, _EDOM):
            self._check(result, f"seccomp_arch_add {oci_name}")

    def add_rule(self, action: int, syscall_name: str, compares: list[tuple[int, int, int, int]]) -> bool:
        """False if libseccomp does not know the system call (then no program here can call it by name)."""
        nr = self._library.seccomp_syscall_resolve_name(syscall_name.encode())
        if nr == _NR_SCMP_ERROR:
            return False
        array = (_Compare * len(compares))(*(_Compare(*c) for c in compares)) if compares else None
        result = self._library.seccomp_rule_add_array(self._context, action, nr, len(compares), array)
        if result != _EEXIST:
            self._check(result, f"seccomp_rule_add {syscall_name}")
        return True

    def export(self) -> bytes:
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            self._check(self._library.seccomp_export_bpf(self._context, fd), "seccomp_export_bpf")
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)


def load(program: bytes, flags: int = 0) -> int:
    """seccomp(2): the filter holds from now on. With NEW_LISTENER the result is the listener's descriptor."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.addressof(buffer))
    return syscall(number("seccomp"), _SECCOMP_SET_MODE_FILTER, ctypes.c_uint(flags), ctypes.byref(header))


__all__ = ["ACT", "ARCH", "CMP", "FLAG", "SECCOMP_FILTER_FLAG_NEW_LISTENER", "Filter", "MissingLibrary", "load"]
