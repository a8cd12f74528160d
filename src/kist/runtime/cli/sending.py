"""Descriptors for the caller: a terminal's master, a pidfd, a seccomp listener, over the unix socket that it named."""

from __future__ import annotations

import _socket as socket
import struct

from kist.runtime import jsons

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def send_console(path: str, console: int) -> None:
    send_fd(path, console, b"/dev/ptmx")


def send_fd(path: str, fd: int, words: bytes) -> None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
        sock.sendmsg([words], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("=i", fd))])
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        sock.close()


def send_listener(spec: dict[str, Any], state: dict[str, Any], pid: int, fd: int) -> None:
    """runtime-spec 1.2, config-linux.md#containerprocessstate."""
    section = spec["linux"]["seccomp"]
    message = {"ociVersion": "1.2.0", "fds": ["seccompFd"], "pid": pid, "state": {**state, "pid": pid},
               "metadata": section.get("listenerMetadata") or ""}
    send_fd(section["listenerPath"], fd, jsons.dumps(message).encode())
