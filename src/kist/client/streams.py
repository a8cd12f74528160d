"""What comes over an attached connection, taken apart; input, sent beside it.

Without a terminal the output is in frames (`api/frames.py`); with one it is plain bytes.
"""

from __future__ import annotations

import select

from kist.api.frames import STDERR, FrameDecoder
from kist.client.transport import MSG_NOSIGNAL, SHUT_WR, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RECEIVE = 256 * 1024


def demultiplex(chunks: Iterable[bytes], *, framed: bool) -> Iterator[tuple[bool, bytes]]:
    """(is it stderr, bytes), piece by piece."""
    decoder = FrameDecoder()
    for chunk in chunks:
        if not framed:
            yield False, chunk
            continue
        for stream, piece in decoder.feed(chunk):
            yield stream >= STDERR, bytes(piece)


def carry(connection: socket, early: bytes, stdin: bytes) -> Iterator[bytes]:
    """Send `stdin` and its end, and yield what comes, until the other side ends; owns the connection."""
    left = memoryview(stdin)
    poll = select.poll()
    try:
        if early:
            yield early
        if not left:
            connection.shutdown(SHUT_WR)
        while True:
            poll.register(connection, select.POLLIN | (select.POLLOUT if left else 0))
            happened = poll.poll()[0][1]
            if left and happened & select.POLLOUT:
                left = _send(connection, left)
            if happened & ~select.POLLOUT:
                data = connection.recv(RECEIVE)
                if not data:
                    return
                yield data
    finally:
        connection.close()


def _send(connection: socket, left: memoryview) -> memoryview:
    """Send some; the end of it is a half-close. Nobody who reads: the rest is dropped."""
    try:
        left = left[connection.send(left[:RECEIVE], MSG_NOSIGNAL):]
        if not left:
            connection.shutdown(SHUT_WR)
    except OSError:
        return memoryview(b"")
    return left
