"""Telling a client that has gone from one that has only shut its sending side (`shutdown(SHUT_WR)`).

To a reader both look the same: the end of the stream. On a unix socket poll(2) tells more: POLLHUP comes only
when the other side is closed altogether.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable


def is_half_closed(transport: asyncio.BaseTransport) -> bool:
    """Whether the client, who sends no more, still reads. Over TCP nobody can tell: it counts as gone."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return not poll.poll(0)


class HangupWatch:
    """Calls back when such a client goes: asyncio reads no more and wouldn't notice, so an epoll of our own."""

    def __init__(self, transport: asyncio.BaseTransport, call: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._epoll.register(transport.get_extra_info("socket").fileno(), 0)
        self._loop.add_reader(self._epoll.fileno(), call)

    def stop(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
