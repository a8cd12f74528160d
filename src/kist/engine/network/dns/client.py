"""The server's side of the name service: starts the resolver, tells it who is where, starts it again if it dies."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from kist.errors import EngineFailure

Json = dict[str, Any]
Sockets = tuple[int, int]  # descriptors, UDP and TCP, made in the container's namespace
MakeSockets = Callable[[], Awaitable[Sockets]]
LARGEST = 1 << 18
MAIN = os.path.join(os.path.dirname(__file__), "__main__.py")


class Served:
    """A container as the resolver must know it, and how to make its sockets (again)."""

    __slots__ = ("make_sockets", "words")

    def __init__(self, words: Json, make_sockets: MakeSockets) -> None:
        self.words, self.make_sockets = words, make_sockets


class NameService:
    """For the event loop's thread. Nothing is started before the first `put`."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._served: dict[str, Served] = {}
        self._listening: set[str] = set()  # as the resolver says
        self._lock = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[Json] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closing = False

    async def put(self, container_id: str, places: list[Json], make_sockets: MakeSockets, *,
                  upstreams: Iterable[str] = (), forward: bool = True) -> None:
        """The container is at these places. Its sockets are made when the resolver hasn't any."""
        words = {"add": container_id, "places": places, "upstreams": list(upstreams), "forward": forward}
        self._served[container_id] = Served(words, make_sockets)
        async with self._lock:
            if await self._ensure():
                await self._add(container_id)

    def serves(self, container_id: str) -> bool:
        return container_id in self._served

    def start_soon(self) -> None:
        """Start the resolver in the background: the first container that needs it won't wait for it."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start_quietly())

    async def drop(self, *container_ids: str) -> None:
        for container_id in container_ids:
            self._served.pop(container_id, None)
        gone = self._listening & set(container_ids)
        if gone and self._socket is not None:
            self._listening -= gone
            async with self._lock:
                await self._say({"drop": sorted(gone)})

    async def settle(self) -> None:
        """All containers that run are known: let a resolver that an earlier server started forget the others."""
        if self._socket is None and os.path.exists(os.path.join(self._directory, "dns.sock")):
            async with self._lock:
                if self._socket is None:
                    await self._connect()
        await self.drop(*(self._listening - set(self._served)))

    async def close(self, *, end: bool = False) -> None:
        """Let go of the resolver. It serves on while there is a container, and ends otherwise; with `end` in
        either case."""
        self._closing = True
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        if (end or not self._served) and self._socket is not None:
            async with self._lock:
                await self._say({"end": True})
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- the process ----------------------------------------------------------------------------------------

    async def _ensure(self) -> bool:
        """A connected resolver. True when it was there, False when it is new: then it has been told all."""
        if self._socket is not None:
            return True
        if await self._connect():
            return True
        for _ in range(20):
            await asyncio.to_thread(self._start)
            if await self._connect():
                for container_id in list(self._served):
                    await self._add(container_id)
                return False
            await asyncio.sleep(0.05)  # one that is about to end still holds the lock
        raise EngineFailure(f"the name service does not start: {self._last_words()}")

    def _start(self) -> None:
        os.makedirs(self._directory, exist_ok=True)
        if self._process is not None:
            self._process.wait()
        with open(os.path.join(self._directory, "dns.log"), "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", MAIN, self._directory], start_new_session=True, cwd="/", env={},
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        assert self._process.stdout is not None
        with self._process.stdout as output:
            output.readline()

    def _last_words(self) -> str:
        try:
            with open(os.path.join(self._directory, "dns.log"), errors="replace") as log:
                return log.read()[-500:].strip().rpartition("\n")[2]
        except OSError as error:
            return str(error)

    async def _connect(self) -> bool:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                made.connect(f"/proc/self/fd/{directory}/dns.sock")
            finally:
                os.close(directory)
            greeting = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(made, LARGEST), 10)
            self._listening = set(json.loads(greeting)["listening"])
        except (OSError, ValueError, TimeoutError):
            made.close()
            return False
        self._socket = made
        self._reader = asyncio.ensure_future(self._read(made))
        return True

    async def _read(self, one: socket.socket) -> None:
        """Takes the answers; the end of them means that the resolver is gone."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(one, LARGEST)
            except OSError:
                data = b""
            if not data:
                break
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(json.loads(data))
        one.close()
        self._socket = None
        self._listening = set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the name service ended"))
        if self._served and not self._closing:
            self._starting = asyncio.ensure_future(self._start_quietly())

    async def _start_quietly(self) -> None:
        async with self._lock:
            try:
                await self._ensure()
            except EngineFailure:
                pass  # the next container that needs it tries again and sees the error

    # -- words ----------------------------------------------------------------------------------------------

    async def _add(self, container_id: str) -> None:
        served = self._served.get(container_id)
        if served is None:
            return
        descriptors: Sockets | tuple[()] = ()
        if container_id not in self._listening:
            try:
                descriptors = await served.make_sockets()
            except (OSError, EngineFailure):
                if self._served.get(container_id) is not served:
                    return  # its namespace is gone: it was released meanwhile
                raise
        try:
            await self._say(served.words, descriptors)
            self._listening.add(container_id)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    async def _say(self, words: Json, descriptors: Iterable[int] = ()) -> None:
        one = self._socket
        if one is None:
            return
        self._answer = asyncio.get_running_loop().create_future()
        try:
            socket.send_fds(one, [json.dumps(words).encode()], list(descriptors))
            await asyncio.wait_for(self._answer, 10)
        except (OSError, TimeoutError) as error:
            if not self._closing:
                raise EngineFailure(f"the name service does not answer: {error}") from error
