"""The switches below /proc/sys/net, those of the network namespace that the calling thread is in.

The kernel keeps what was looked up in /proc/sys/net by name: `ipv4` and `ipv6` of all namespaces, as one list each,
which every look-up goes through. With 500 containers an opening took 0.4 ms (0.01 with none), and a new namespace
needs five. A procfs of our own starts with an empty list, so it is made anew (0.02 ms) when some have been looked up.
"""

from __future__ import annotations

import os

from kist.linux import mount

RENEW = 64  # openings


class Sysctls:
    """Names are paths below /proc/sys/net. One thread's own; it may change its namespace between calls."""

    def __init__(self) -> None:
        self._proc = _procfs()
        self._opened = 0

    def close(self) -> None:
        os.close(self._proc)

    def write(self, name: str, value: str) -> None:
        """A kernel without IPv6 has no ipv6/: nothing is written then."""
        try:
            descriptor = self._open(name, os.O_WRONLY)
        except FileNotFoundError:
            if name.startswith("ipv6/"):
                return
            raise
        try:
            os.write(descriptor, value.encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"/proc/sys/net/{name}") from None
        finally:
            os.close(descriptor)

    def read(self, name: str) -> str:
        """"" where there is none."""
        try:
            with open(self._open(name, os.O_RDONLY)) as file:
                return file.read().strip()
        except FileNotFoundError:
            return ""

    def _open(self, name: str, flags: int) -> int:
        if self._opened >= RENEW:
            old, self._proc, self._opened = self._proc, _procfs(), 0
            os.close(old)
        self._opened += 1
        try:
            return os.open(f"sys/net/{name}", flags | os.O_CLOEXEC, dir_fd=self._proc)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"/proc/sys/net/{name}") from None


def _procfs() -> int:
    """A procfs that nobody else sees; /proc, where the kernel refuses one (a server in a container)."""
    try:
        return mount.detached("proc", [])
    except OSError:
        return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
