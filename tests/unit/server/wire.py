"""A raw HTTP client for tests of the server: what is sent is what the test wrote, byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        text: str = self.json["message"]
        return text


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def request(self, method: str, target: str, body: Any = None, headers: str = "") -> None:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send(f"{method} {target} HTTP/1.1\r\nHost: d\r\n{headers}Content-Length: {len(data)}\r\n\r\n".encode()
                  + data)

    async def head(self) -> Answer:
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = raw.rstrip("\r\n").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        return Answer(int(first.split(" ")[1]), headers, b"")

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """The next whole answer."""
        found = await self.head()
        if bodiless or found.status in (100, 101, 204, 304):
            return found
        if found.headers.get("transfer-encoding") == "chunked":
            while chunk := await self.chunk():
                found.body += chunk
        elif "content-length" in found.headers:
            found.body = await self.reader.readexactly(int(found.headers["content-length"]))
        else:
            found.body = await self.reader.read()
        return found

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        await self.reader.readexactly(2)
        return data

    async def ask(self, method: str, target: str, body: Any = None, headers: str = "") -> Answer:
        self.request(method, target, body, headers)
        return await asyncio.wait_for(self.answer(bodiless=method == "HEAD"), 10)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await asyncio.wait_for(self.reader.read(), 10)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass


@asynccontextmanager
async def connected(path: str) -> AsyncIterator[Wire]:
    wire = Wire(*await asyncio.open_unix_connection(path))
    try:
        yield wire
    finally:
        await wire.close()
