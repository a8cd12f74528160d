"""The part of RFC 6455 that attach needs: the handshake, and frames of one binary stream (pure).

::

     byte 0            byte 1             then
    +---+---+------+  +------+--------+  +-----------------------+-----------+---------
    |FIN|RSV|opcode|  | MASK | length |  | 16 or 64 bit length,  | mask key, | payload
    | 1 | 3 |  4   |  |  1   |   7    |  | if length is 126, 127 | if MASK   |
    +---+---+------+  +------+--------+  +-----------------------+-----------+---------

A client's frames are masked (§5.1), a server's are not. Text and binary are the same to a stream.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from struct import Struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_FIN, _RESERVED, _MASKED = 0x80, 0x70, 0x80
_CONTROL = 0x8
_U16, _U64 = Struct(">H"), Struct(">Q")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # §1.3
_NORMAL, _PROTOCOL_ERROR = 1000, 1002  # §7.4.1


def accept_key(key: str) -> str:
    """``Sec-WebSocket-Accept`` for the client's ``Sec-WebSocket-Key`` (§4.2.2)."""
    return b64encode(sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole frame, unmasked, as a server sends it."""
    size = len(payload)
    if size < 126:
        head = bytes((_FIN | opcode, size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, 126)) + _U16.pack(size)
    else:
        head = bytes((_FIN | opcode, 127)) + _U64.pack(size)
    return head + payload


class Codec:
    """A server's side. ``decode`` hands on payload as it arrives, so no length can make it hoard."""

    def __init__(self, *, text: bool = False) -> None:
        self._opcode = TEXT if text else BINARY  # clients below API v1.28 get text
        self._buffer = bytearray()
        self._left = 0  # payload bytes of the present data frame still to come
        self._key = 0
        self._key_at = 0
        self._ended = False

    def encode(self, data: bytes) -> bytes:
        return frame(self._opcode, data)

    def end(self) -> bytes:
        return frame(CLOSE, _U16.pack(_NORMAL))

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        """(payload, frames to answer with)."""
        self._buffer += data
        payload, replies = bytearray(), bytearray()
        while self._take(payload, replies):
            pass
        return bytes(payload), bytes(replies)

    @property
    def ended(self) -> bool:
        return self._ended

    def _take(self, payload: bytearray, replies: bytearray) -> bool:
        """One step: the rest of a data frame, or a next head. False when more bytes are needed."""
        if self._ended or not self._buffer:
            return False
        if self._left:
            piece = self._buffer[: self._left]
            del self._buffer[: len(piece)]
            self._left -= len(piece)
            payload += self._unmask(piece)
            return True
        return self._head(replies)

    def _head(self, replies: bytearray) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        opcode, size = buffer[0] & 0x0F, buffer[1] & 0x7F
        wide = {126: 2, 127: 8}.get(size, 0)
        start = 2 + wide + 4
        if len(buffer) < start:
            return False
        if wide:
            size = int.from_bytes(buffer[2 : 2 + wide], "big")
        known = opcode in (CONTINUATION, TEXT, BINARY) or (opcode in (CLOSE, PING, PONG) and not wide)
        if buffer[0] & _RESERVED or not buffer[1] & _MASKED or not known or size >> 63:
            self._ended = True
            replies += frame(CLOSE, _U16.pack(_PROTOCOL_ERROR))
            return False
        control = opcode & _CONTROL
        if control and len(buffer) < start + size:
            return False
        self._key, self._key_at = int.from_bytes(buffer[start - 4 : start], "big"), 0
        if control:
            told = self._unmask(buffer[start : start + size])
            del buffer[: start + size]
            return self._control(opcode, told, replies)
        del buffer[:start]
        self._left = size
        return True

    def _control(self, opcode: int, told: bytes, replies: bytearray) -> bool:
        if opcode == PING:
            replies += frame(PONG, told)
        elif opcode == CLOSE:
            self._ended = True
            replies += frame(CLOSE, told[:2])  # §5.5.1: echo the status
        return True

    def _unmask(self, piece: bytearray) -> bytes:
        """XOR with the key, which goes on where the last piece of the frame left off; as one long integer."""
        size = len(piece)
        if not size:
            return b""
        key = self._key.to_bytes(4, "big")
        at = self._key_at
        self._key_at = (at + size) % 4
        stream = (key[at:] + key * (size // 4 + 1))[:size]
        return (int.from_bytes(piece, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")
