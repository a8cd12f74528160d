"""Messages over a SEQPACKET socket, with descriptors; both ends use it (the engine's end without blocking too)."""

from __future__ import annotations

import os
import socket
from array import array

from kist.launcher import protocol
from kist.launcher.protocol import BY_MEMFD, INLINE, MAX_FDS, MAX_MESSAGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_RIGHTS_SPACE = socket.CMSG_SPACE(MAX_FDS * array("i").itemsize)


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send one message with its descriptors (the sender keeps its own copies).

    Raises BlockingIOError when a non-blocking socket is full, other OSErrors when nobody is there.
    """
    body = protocol.encode(message)
    if len(body) <= INLINE:
        _send(sock, body, fds)
        return
    memory = os.memfd_create("kist-message", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(body)
        _send(sock, BY_MEMFD, [memory, *fds])
    finally:
        os.close(memory)


def _send(sock: socket.socket, body: bytes, fds: Sequence[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
    sock.sendmsg([body], rights, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors (now the caller's, close-on-exec), or None at the end.

    Raises BlockingIOError when nothing is there, ProtocolError for a message that is none of ours
    (its descriptors are closed then).
    """
    try:
        body, rights, flags, _ = sock.recvmsg(INLINE, _RIGHTS_SPACE, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # the other end left with messages of ours unread
        return None
    if not body:
        return None
    fds = array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    owned = list(fds)
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise ProtocolError("a message arrived cut short")
        if body == BY_MEMFD:
            body = _read_memory(owned)
        return protocol.decode(body), owned
    except (ProtocolError, OSError):
        close_all(owned)
        raise


def _read_memory(owned: list[int]) -> bytes:
    if not owned:
        raise ProtocolError("a message in memory came without its memory")
    memory = owned.pop(0)
    try:
        size = os.fstat(memory).st_size
        if size > MAX_MESSAGE:
            raise ProtocolError(f"a message of {size} bytes")
        return os.pread(memory, size, 0)
    finally:
        os.close(memory)


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
