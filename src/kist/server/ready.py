"""How the server says that it listens: a byte for who gave `--ready-fd`, a datagram for systemd (Type=notify)."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass

log = logging.getLogger("kist.server")


@dataclass(frozen=True, slots=True)
class Ready:
    """Whom to tell; nobody, if both are left out."""

    fd: int | None = None
    notify_socket: str = ""  # sd_notify(3): a path, or "@name" for an abstract address

    def tell(self) -> None:
        if self.fd is not None:
            try:
                os.write(self.fd, b"\n")
            finally:
                os.close(self.fd)
        if self.notify_socket:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                    notify.sendto(b"READY=1", _address(self.notify_socket))
            except OSError as error:
                log.warning("telling %s that the server listens: %s", self.notify_socket, error)


def _address(text: str) -> str:
    return f"\0{text[1:]}" if text.startswith("@") else text
