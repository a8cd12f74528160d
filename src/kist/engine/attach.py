"""Attach: a client's connection becomes the container's streams, now or at its next start."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from kist.api.options import AttachOptions
from kist.engine import detachkeys, logdrivers, logs, states
from kist.engine.container import Container
from kist.engine.heads import head_is_read
from kist.engine.parts import Parts
from kist.errors import Conflict
from kist.launcher.client import AttachRequest, LaunchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def attach(parts: Parts, ref: str, options: AttachOptions, fd: int, preread: bytes) -> None:
    """Owns `fd` from the call on. A container that doesn't run keeps it until its start."""
    try:
        container = parts.register.get(ref)
        container.check("attach")
        # Keys are typed at a terminal; binary input may well have their bytes in it.
        keys = detachkeys.parse(options.detach_keys) if options.stdin and container.tty else b""
        if options.logs:
            await _replay(parts, container, options, fd)
    except BaseException:
        os.close(fd)
        raise
    parts.events.publish("container", "attach", container.id, container.attributes())
    if not options.stream:
        os.close(fd)
        return
    request = AttachRequest(fd, stdin=options.stdin and bool(container.record.config["OpenStdin"]),
                            stdout=options.stdout, stderr=options.stderr,
                            framed=options.framed and not container.tty, detach_keys=keys, preread=preread)
    async with container.lock:  # a start that is under way has taken the waiting ones already
        await _hand_over(container, request)


async def _hand_over(container: Container, request: AttachRequest) -> None:
    link = container.link
    if container.state == states.RUNNING and link is not None:
        try:
            await link.attach(request)
        except (OSError, LaunchError):
            return  # it has ended at this moment; the descriptor is closed
    elif container.state in (states.CREATED, states.EXITED, states.RESTARTING):
        container.park(request)
    else:
        os.close(request.fd)
        raise Conflict(f"container {container.id} is not running")


async def _replay(parts: Parts, container: Container, options: AttachOptions, fd: int) -> None:
    """What was recorded so far, in the form of the stream that follows."""
    kept = logdrivers.kept(container.record.host["LogConfig"])
    if kept is None:
        return
    await head_is_read(fd)
    wanted = logs.Wanted(stdout=options.stdout, stderr=options.stderr,
                         framed=options.framed and not container.tty)
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=os.dup(fd)) as client:
        client.settimeout(0)
        pieces: AsyncIterator[bytes] = logs.read_log(parts.places.log_path(container.record), wanted,
                                                     driver=kept["Type"])
        async for piece in pieces:
            try:
                await loop.sock_sendall(client, piece)
            except OSError:
                return
