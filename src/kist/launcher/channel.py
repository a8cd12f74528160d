"""Messages over a SEQPACKET socket, with descriptors; both ends use it (the engine's end without blocking too).

The launcher's side uses sockets without the standard library's wrapper: each enumeration that the wrapper makes of a
number is memory that a monitor then has for itself.
"""

from __future__ import annotations

import os
from _socket import (
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_NOSIGNAL,
    MSG_TRUNC,
    SCM_RIGHTS,
    SOL_SOCKET,
    socket,
)
from struct import Struct, calcsize, pack

from kist.launcher import protocol
from kist.launcher.protocol import BY_MEMFD, INLINE, MAX_FDS, MAX_MESSAGE, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_INT = calcsize("=i")
# One for each number of descriptors: the module's own function would make one, and keep it.
_INTS = [Struct(f"={number}i") for number in range(MAX_FDS + 1)]
_RIGHTS_SPACE = CMSG_SPACE(MAX_FDS * _INT)


def send(sock: socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send one message with its descriptors (the sender keeps its own copies).

    Raises BlockingIOError when a non-blocking socket is full, other OSErrors when nobody is there.
    """
    body = protocol.encode(message)
    if len(body) <= INLINE:
        _send(sock, body, fds)
        return
    memory = os.memfd_create("kist-message", os.MFD_CLOEXEC)
    try:
        os.write(memory, body)
        _send(sock, BY_MEMFD, [memory, *fds])
    finally:
        os.close(memory)


def _send(sock: socket, body: bytes, fds: Sequence[int]) -> None:
    rights = [(SOL_SOCKET, SCM_RIGHTS, pack(f"={len(fds)}i", *fds))] if fds else []
    sock.sendmsg([body], rights, MSG_NOSIGNAL)


def receive(sock: socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors (now the caller's, close-on-exec), or None at the end.

    Raises BlockingIOError when nothing is there, ProtocolError for a message that is none of ours
    (its descriptors are closed then).
    """
    try:
        body, rights, flags, _ = sock.recvmsg(INLINE, _RIGHTS_SPACE, MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # it left with messages of ours unread; what it sent before comes after that error
        body, rights, flags, _ = sock.recvmsg(INLINE, _RIGHTS_SPACE, MSG_CMSG_CLOEXEC)
    if not body:
        return None
    owned: list[int] = []
    for level, kind, data in rights:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            owned += _INTS[len(data) // _INT].unpack_from(data)
    try:
        if flags & (MSG_TRUNC | MSG_CTRUNC):
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
