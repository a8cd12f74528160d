"""A network namespace is born with its loopback device down."""

from __future__ import annotations

import _socket as socket
import fcntl
import struct

from kist.runtime.step import Context, Step

# netdevice(7): struct ifreq is a name of 16 bytes and a union of 24; its flags are a short.
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
_IFREQ = "16sh22x"
_IFF_UP = 1


class Loopback(Step):
    """The specification doesn't ask for it, but runc and crun both do it, and Podman and containerd rely on that."""

    syscall = "ioctl(2) SIOCSIFFLAGS"
    why = "programs expect 127.0.0.1, and a new network namespace has its loopback device down"

    def describe(self) -> str:
        return "bring the loopback device up"

    def run(self, ctx: Context) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            name, flags = struct.unpack(_IFREQ, fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack(_IFREQ, b"lo", 0)))
            fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack(_IFREQ, name, flags | _IFF_UP))
        finally:
            sock.close()
