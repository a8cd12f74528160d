"""The warm pool's life: taken from by starts, filled up again while nothing starts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from kist.engine.network.sandbox import Sandbox
from kist.errors import KistError

REFILL_AFTER = 0.15  # seconds without a start before the pool is filled up again

Make = Callable[[str], Awaitable[Sandbox]]


class WarmPool:
    """Sandboxes made ahead: `blank` ones (for containers without a network, and as a beginning for any
    other) and ones `wired` to the default bridge. For the event loop's thread; `make` makes one of a kind."""

    def __init__(self, make: Make, *, wired: int, blank: int) -> None:
        self._make = make
        self._size = {"wired": wired, "blank": blank}
        self._ready: dict[str, list[Sandbox]] = {"wired": [], "blank": []}
        self._filling: asyncio.Task[None] | None = None
        self._fill_at = 0.0
        self._closing = asyncio.Event()

    async def take(self, kind: str) -> Sandbox:
        """A ready one, or one that is made now. The pool refills itself later."""
        ready = self._ready[kind]
        self.fill_later()
        return ready.pop() if ready else await self._make(kind)

    def fill_later(self, delay: float = REFILL_AFTER) -> None:
        """Fill up once nothing has been taken for `delay` seconds: a refill must not take the processor from
        a start. They are made one by one, so a start that comes in between waits for one of them at most."""
        self._fill_at = asyncio.get_running_loop().time() + delay
        if not self._closing.is_set() and (self._filling is None or self._filling.done()):
            self._filling = asyncio.ensure_future(self._fill())

    async def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while (kind := self._lacking()) and not self._closing.is_set():
            wait = self._fill_at - loop.time()
            if wait > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), wait)
                continue
            try:
                self._ready[kind].append(await self._make(kind))
            except KistError:
                return  # whoever needs one next makes it and sees the error

    def _lacking(self) -> str:
        return next((kind for kind, size in self._size.items() if len(self._ready[kind]) < size), "")

    async def close(self) -> None:
        self._closing.set()
        if self._filling is not None:
            await self._filling
        for ready in self._ready.values():
            while ready:
                ready.pop().close()
