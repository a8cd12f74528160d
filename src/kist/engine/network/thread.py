"""The network thread: everything that touches the kernel's networking happens there, in the order it was asked for."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from kist.engine.network.firewall import Rules
from kist.engine.network.host import Host
from kist.errors import EngineFailure
from kist.linux.netlink.nfelements import Element

T = TypeVar("T")
# BR_MAX_PORTS (net/bridge/br_private.h) is 1024, and ports count from 1.
BRIDGE_FULL = "the network's bridge has all the ports that the kernel gives one (1023 containers): make another network"


class HostThread:
    """A `Host` in a thread of its own. For the event loop's thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kist-network")
        self._host: Host | None = None

    @property
    def is_open(self) -> bool:
        return self._host is not None

    async def open(self, rules: Rules, state_file: str) -> None:
        self._host = await self._run(lambda: Host(rules, state_file))

    async def close(self) -> None:
        if self._host is not None:
            await self.do(lambda host: host.close())
            self._host = None
        self._thread.shutdown(wait=True)

    async def do(self, work: Callable[[Host], T]) -> T:
        """Carry out `work`; what the kernel refuses becomes an EngineFailure. It is always carried out to its end,
        also when the caller is cancelled meanwhile: it uses descriptors that the caller will close."""
        host = self._host
        if host is None:
            raise EngineFailure("networking is not open")
        return await self._run(lambda: work(host))

    async def elements(self, elements: list[Element]) -> None:
        """Have the packet filter's elements changed, if there are any to change."""
        if elements:
            await self.do(lambda host: host.filter.change(elements))

    async def _run(self, work: Callable[[], T]) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            raise
        except OSError as error:
            about = f"{error.filename}: " if error.filename else ""
            words = BRIDGE_FULL if error.errno == errno.EXFULL else error.strerror or error
            raise EngineFailure(f"network: {about}{words}") from error
