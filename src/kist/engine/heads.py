"""The head of an answer that becomes a stream (attach, exec), and who may not write right behind it.

Clients that read a head by a buffer, and go on with the bare socket behind it, lose what came along: docker-py does.
What the monitor writes waits there by itself (launcher/clients.py).
"""

from __future__ import annotations

import asyncio
import time

from kist.linux.outq import has_unread

PATIENCE = 1.0  # seconds


async def head_is_read(fd: int) -> None:
    """Until the client has read it (known of unix sockets only), or its time is over."""
    end = time.monotonic() + PATIENCE
    pause = 0.0
    while has_unread(fd) and time.monotonic() < end:
        await asyncio.sleep(pause)
        pause = min(pause + 0.0001, 0.005)
