"""The messages between whoever creates a container and its init, on a SOCK_SEQPACKET pair.

    +-----+---------------------------+
    | tag | payload                   |   one message per packet, at most one descriptor with it
    +-----+---------------------------+

    init says                                   the creator answers
    U  user namespace made, map my ids          u
    P  my process is (pid:4), pidfd with it     -   (from a stage that exits then)
    C  the terminal's master comes with it      -
    H  run the hooks that come before pivot     h
    N  the seccomp listener comes with it       n
    R  ready at the barrier                     g   go
    E  (errno:4)(kind:1)(text)                  -   then it exits

After ``g`` the end of the stream means that the program runs: the socket is close-on-exec.
"""

from __future__ import annotations

import _socket as socket
import os
import struct

from kist.runtime.errors import ExecError, RuntimeFailure, StepError

MAX = 65536
_KINDS = ("step", "not found", "not executable", "other")


class Hangup(RuntimeFailure):
    """The other side is gone without a word."""


def send(sock: socket.socket, tag: bytes, payload: bytes = b"", fd: int | None = None) -> None:
    ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("=i", fd))]
    sock.sendmsg([tag + payload[: MAX - 1]], ancillary, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket) -> tuple[bytes, bytes, int | None]:
    """(tag, payload, descriptor or None); an empty tag at the end of the stream."""
    data, ancillary, _flags, _address = sock.recvmsg(MAX, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    fd = None
    for _level, kind, content in ancillary:
        if kind == socket.SCM_RIGHTS:
            fd = int(struct.unpack("=i", content[:4])[0])
    return data[:1], data[1:], fd


def send_error(sock: socket.socket, error: RuntimeFailure) -> None:
    kind = _KINDS.index(error.kind) if isinstance(error, ExecError) else 0
    payload = struct.pack("=iB", error.errno, kind) + str(error).encode(errors="replace")
    try:
        send(sock, b"E", payload)
    except OSError:
        pass  # the creator is gone: nobody is left to hear it


def error_of(payload: bytes) -> RuntimeFailure:
    code, kind = struct.unpack_from("=iB", payload)
    text = payload[5:].decode(errors="replace")
    return StepError(text, code) if kind == 0 else ExecError(text, code, _KINDS[kind])


def expect(sock: socket.socket, tag: bytes) -> None:
    """Init's side: wait for one answer. The creator's end closing means: give up."""
    got, _payload, fd = receive(sock)
    if fd is not None:
        os.close(fd)
    if got != tag:
        raise Hangup("the creator is gone")
