"""How fast this machine's time stamp counter runs. An emulated machine's is the same one (QEMU: cpu_get_host_ticks),
and its kernel can't find that out while this machine is busy: it was seen to run four times too fast, and to hang on
another clock."""

from __future__ import annotations

import ctypes
import mmap
import platform
import time

RDTSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")  # rdtsc; shl rdx, 32; or rax, rdx; ret


def tsc_khz(seconds: float = 0.2) -> int | None:
    """Thousands of ticks a second, None on a machine of another kind."""
    if platform.machine() != "x86_64":
        return None
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
        page.write(RDTSC)
        place = ctypes.c_char.from_buffer(page)
        read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(place))
        began, first = time.monotonic_ns(), read()
        time.sleep(seconds)
        ticks, took = read() - first, time.monotonic_ns() - began
        del place, read
    return int(ticks * 1_000_000 // took)


def kernel_options() -> str:
    """For the emulated machine's command line (kernel: admin-guide/kernel-parameters)."""
    khz = tsc_khz()
    return f"tsc_early_khz={khz} tsc=reliable" if khz else ""
