"""The 8-byte stream frames of attach, exec and logs (no terminal).

Engine API v1.51, "Stream format" of ``POST /containers/{id}/attach``::

    byte   0        1    2    3    4 … 7                   8 …
         +--------+----+----+----+-----------------------+---------------
         | stream | 0  | 0  | 0  | size, uint32, big end | size bytes …
         +--------+----+----+----+-----------------------+---------------
    stream: 0 stdin (written on stdout), 1 stdout, 2 stderr, 3 the server's own error text (Docker's daemon)

Pure: bytes in, events out. The launcher's monitor, the client and the server share it.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3
HEADER_SIZE = 8

_HEADER = Struct(">BxxxI")


class BadFrame(ValueError):
    """The bytes are no stream frames (an unknown stream, or an end in the middle of a frame)."""


def header(stream: int, size: int) -> bytes:
    """The 8 bytes that precede ``size`` bytes of ``stream``."""
    return _HEADER.pack(stream, size)


def frame(stream: int, payload: bytes) -> bytes:
    """One whole frame; for large payloads send ``header()`` and the payload by one vectored write."""
    return _HEADER.pack(stream, len(payload)) + payload


class FrameDecoder:
    """Splits received bytes into ``(stream, piece)``.

    A piece is what has arrived of a frame: nothing waits for a frame's end, so a lying size can't make
    the reader keep more than it was fed. Empty frames give no piece.

        decoder = FrameDecoder()
        while data := sock.recv(65536):
            for stream, piece in decoder.feed(data): …
        decoder.close()
    """

    __slots__ = ("_head", "_left", "_stream")

    def __init__(self) -> None:
        self._head = b""  # the beginning of a header that has not arrived as a whole
        self._stream = STDIN
        self._left = 0  # bytes of the present frame still to come

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield the pieces in ``data`` (views into it, no copies). Consume it before the next ``feed``."""
        view = memoryview(data)
        at, end = 0, len(view)
        while at < end:
            if not self._left:
                at = self._take_header(view, at)
                continue
            piece = view[at : at + self._left]
            self._left -= len(piece)
            at += len(piece)
            yield self._stream, piece

    def close(self) -> None:
        """Say that no more will come; raises BadFrame in the middle of a frame."""
        if self._head or self._left:
            raise BadFrame("the stream ended in the middle of a frame")

    def _take_header(self, view: memoryview, at: int) -> int:
        need = HEADER_SIZE - len(self._head)
        self._head += bytes(view[at : at + need])
        if len(self._head) == HEADER_SIZE:
            self._stream, self._left = _HEADER.unpack(self._head)
            self._head = b""
            if self._stream > SYSTEM_ERROR:
                raise BadFrame(f"unknown stream {self._stream} in a frame's header")
        return at + need
