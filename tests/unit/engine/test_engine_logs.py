"""The log reader: tails, times, rotation, following, bytes that are no text, broken records."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kist.api.frames import FrameDecoder
from kist.engine import times
from kist.engine.logs import Wanted, parse, read_log

BASE = 1_700_000_000_000_000_000


def line(text: str, number: int = 0, stream: str = "stdout") -> bytes:
    return json.dumps({"log": text, "stream": stream, "time": times.rfc3339_fixed(BASE + number)}).encode() + b"\n"


def write(path: Path, first: int, last: int) -> None:
    path.write_bytes(b"".join(line(f"line {n}\n", n) for n in range(first, last)))


async def read(path: Path, **wanted: Any) -> bytes:
    found = [piece async for piece in read_log(str(path), Wanted(framed=False, **wanted))]
    return b"".join(found)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Thirty lines over three files."""
    path = tmp_path / "x-json.log"
    write(Path(f"{path}.2"), 0, 10)
    write(Path(f"{path}.1"), 10, 20)
    write(path, 20, 30)
    return path


async def test_all_lines_oldest_first(log: Path) -> None:
    assert (await read(log)).decode().splitlines() == [f"line {n}" for n in range(30)]


@pytest.mark.parametrize("tail", [0, 1, 5, 10, 11, 20, 29, 30, 31, 1000])
async def test_the_tail_counts_over_rotated_files(log: Path, tail: int) -> None:
    expected = [f"line {n}" for n in range(max(0, 30 - tail), 30)]
    assert (await read(log, tail=tail)).decode().splitlines() == expected


async def test_a_tail_in_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    write(path, 0, 20_000)
    assert (await read(path, tail=15_001)).count(b"\n") == 15_001


async def test_since_and_until(log: Path) -> None:
    found = await read(log, since=BASE + 5, until=BASE + 12)
    assert found.decode().splitlines() == [f"line {n}" for n in range(5, 13)]


async def test_streams_are_framed_and_chosen(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    path.write_bytes(line("out\n") + line("err\n", stream="stderr") + line("out2\n"))
    data = b"".join([piece async for piece in read_log(str(path), Wanted())])
    assert [(stream, bytes(piece)) for stream, piece in FrameDecoder().feed(data)] == \
        [(1, b"out\n"), (2, b"err\n"), (1, b"out2\n")]
    assert await read(path, stdout=False) == b"err\n"


async def test_timestamps_and_details_precede_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    path.write_bytes(json.dumps({"log": "hi\n", "stream": "stdout", "time": "2026-01-02T03:04:05.5Z",
                                 "attrs": {"b": "2", "a": "1"}}).encode() + b"\n")
    assert await read(path, timestamps=True) == b"2026-01-02T03:04:05.500000000Z hi\n"
    assert await read(path, details=True) == b"a=1,b=2 hi\n"


async def test_bytes_that_are_no_text_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    every = bytes(range(256)).replace(b"\n", b"") + "ü€😀".encode() + b"\n"
    text = every.decode("utf-8", "surrogateescape")
    path.write_bytes(line("before\n") + line(text) + line("after\n"))
    assert await read(path) == b"before\n" + every + b"after\n"


async def test_broken_records_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    path.write_bytes(line("one\n") + b'{"log":"half\n' + b"\x00\x00\n[]\n" + line("two\n") + b'{"log":"unfinished')
    assert await read(path) == b"one\ntwo\n"


def test_deep_nesting_is_just_a_broken_record() -> None:
    assert parse(b"[" * 100_000 + b"\n" + line("ok\n"))[0].log == "ok\n"


async def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert await read(tmp_path / "none-json.log") == b""
    assert await read(tmp_path / "none-json.log", tail=3) == b""


async def test_following_sees_new_lines_rotation_and_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    write(path, 0, 3)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    found = bytearray()

    async def follow() -> None:
        async for piece in read_log(str(path), Wanted(framed=False), ended=ended):
            found.extend(piece)

    async def until(count: int) -> None:
        async with asyncio.timeout(10):
            while found.count(b"\n") < count:
                await asyncio.sleep(0.01)

    following = asyncio.create_task(follow())
    await until(3)
    with path.open("ab") as file:
        file.write(line("line 3\n")[:10])
        file.flush()
        file.write(line("line 3\n")[10:])
    await until(4)
    path.rename(f"{path}.1")  # twice in a row: two generations at once
    write(path, 4, 6)
    Path(f"{path}.1").rename(f"{path}.2")
    path.rename(f"{path}.1")
    write(path, 6, 8)
    await until(8)
    with path.open("ab") as file:
        file.write(line("last\n"))
    ended.set_result(None)
    await asyncio.wait_for(following, 10)
    assert found.decode().splitlines() == [f"line {n}" for n in range(8)] + ["last"]
