"""The server's life: engine up, listen, say so, wait for a signal, answer what is under way, engine down."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from contextlib import AsyncExitStack

from kist.engine.config import Config
from kist.server import http, listen
from kist.server.app import App
from kist.server.crowd import TooMany, most_connections
from kist.server.ports import Engine
from kist.server.ready import Ready

log = logging.getLogger("kist.server")

GRACE = 1.0  # seconds for requests under way when the server is told to end


async def serve(config: Config, addresses: list[listen.Address], tls: listen.Tls | None,
                ready: Ready) -> int:
    from kist.engine.engine import Engine as RealEngine

    async with AsyncExitStack() as stack:
        stop = _stop_signal()
        engine = RealEngine(config)
        stack.push_async_callback(engine.close)
        await engine.start()
        await stack.enter_async_context(Server(engine, addresses, tls))
        gc.collect()
        gc.freeze()  # what start-up made stays: later collections need not look at it
        ready.tell()
        log.info("listening on %s", ", ".join(map(str, addresses)))
        log.info("ending: %s", await stop)
    return 0


class Server:
    """The listening half, with any engine: `async with Server(engine, addresses):` serves inside."""

    def __init__(self, engine: Engine, addresses: list[listen.Address], tls: listen.Tls | None = None, *,
                 timeouts: http.Timeouts = http.Timeouts(),  # noqa: B008 (a NamedTuple can't change)
                 most: int = 0) -> None:
        """`most`: connections at a time; 0 means what the process's descriptors allow."""
        self._most = most or most_connections()
        self._timeouts = timeouts
        self._app = App(engine)
        self._addresses = addresses
        self._tls = tls
        self._open_ones: set[http.Connection] = set()
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Server:
        try:
            for address in self._addresses:
                self._servers.append(await listen.listen(address, self._connection, self._tls))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for address, server in zip(self._addresses, self._servers, strict=False):
            server.close()
            if address.path:
                listen.remove_socket(address.path)
        await self._finish()

    def _connection(self) -> asyncio.Protocol:
        if len(self._open_ones) >= self._most:
            return TooMany(self._most)
        return http.Connection(self._app.serve, self._open_ones, self._timeouts)

    async def _finish(self) -> None:
        """Short requests end by themselves, endless ones (events, logs -f, wait) are cut."""
        for connection in list(self._open_ones):
            connection.end_soon()
        tasks = [c.task for c in self._open_ones if c.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _stop_signal() -> asyncio.Future[str]:
    """The name of the first signal that asks for the end. SIGHUP is ignored: nothing can be reloaded safely."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[str] = loop.create_future()

    def tell(number: signal.Signals) -> None:
        if not told.done():
            told.set_result(number.name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell, number)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return told
