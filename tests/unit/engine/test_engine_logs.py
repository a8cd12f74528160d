"""The log reader: tails, times, rotation, following, bytes that are no text, broken records."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.api.frames import FrameDecoder
from kist.engine import times
from kist.engine.logformats import FORMATS
from kist.engine.logpress import press
from kist.engine.logs import Wanted, read_log
from kist.launcher.lines import Splitter
from kist.launcher.localfile import LocalRecords
from kist.launcher.log import LogFile, settle

BASE = 1_700_000_000_000_000_000


def line(text: str, number: int = 0, stream: str = "stdout") -> bytes:
    return json.dumps({"log": text, "stream": stream, "time": times.rfc3339_fixed(BASE + number)}).encode() + b"\n"


def write(path: Path, first: int, last: int) -> None:
    path.write_bytes(b"".join(line(f"line {n}\n", n) for n in range(first, last)))


async def read(path: Path, driver: str = "json-file", **wanted: Any) -> bytes:
    found = [piece async for piece in read_log(str(path), Wanted(framed=False, **wanted), driver=driver)]
    return b"".join(found)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Thirty lines over three files."""
    path = tmp_path / "x-json.log"
    write(Path(f"{path}.2"), 0, 10)
    write(Path(f"{path}.1"), 10, 20)
    write(path, 20, 30)
    return path


@pytest.fixture(params=["plain", "compressed"])
def log_of_either(request: pytest.FixtureRequest, log: Path) -> Path:
    """The same; the rotated files compressed, or not."""
    if request.param == "compressed":
        compress(log)
    return log


def compress(log: Path) -> None:
    for name in (f"{log}.1", f"{log}.2"):
        with open(name, "rb") as source:
            press(source, f"{log}.press")
            settle(str(log), 3, os.fstat(source.fileno()).st_ino, f"{log}.press")
    assert sorted(path.name for path in log.parent.iterdir()) == ["x-json.log", "x-json.log.1.gz", "x-json.log.2.gz"]


async def test_all_lines_oldest_first(log_of_either: Path) -> None:
    assert (await read(log_of_either)).decode().splitlines() == [f"line {n}" for n in range(30)]


@pytest.mark.parametrize("tail", [0, 1, 5, 10, 11, 20, 29, 30, 31, 1000])
async def test_the_tail_counts_over_rotated_files(log_of_either: Path, tail: int) -> None:
    expected = [f"line {n}" for n in range(max(0, 30 - tail), 30)]
    assert (await read(log_of_either, tail=tail)).decode().splitlines() == expected


async def test_a_tail_in_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    write(path, 0, 20_000)
    assert (await read(path, tail=15_001)).count(b"\n") == 15_001


async def test_since_and_until(log_of_either: Path) -> None:
    found = await read(log_of_either, since=BASE + 5, until=BASE + 12)
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
    assert FORMATS["json-file"].parse(b"[" * 100_000 + b"\n" + line("ok\n"))[0].log == "ok\n"


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


async def test_a_compressed_file_is_gzip_with_the_originals_time(log: Path) -> None:
    content, written = Path(f"{log}.1").read_bytes(), Path(f"{log}.1").stat().st_mtime_ns
    compress(log)
    with gzip.open(f"{log}.1.gz") as file:
        assert file.read() == content
    assert Path(f"{log}.1.gz").stat().st_mtime_ns == written


async def test_a_damaged_compressed_file_is_left_out(log: Path) -> None:
    compress(log)
    Path(f"{log}.2.gz").write_bytes(Path(f"{log}.2.gz").read_bytes()[:40])
    Path(f"{log}.1.gz").write_bytes(b"no gzip at all")
    assert (await read(log)).decode().splitlines() == [f"line {n}" for n in range(20, 30)]


@pytest.mark.parametrize("driver", ["json-file", "local"])
async def test_who_follows_gets_each_line_once_while_files_are_rotated_and_compressed(
        tmp_path: Path, driver: str) -> None:
    """Twelve files come while the reader reads, each compressed at once, by the code that does it for containers."""
    path, lines = tmp_path / "x.log", [b"line %d\n" % n for n in range(6000)]
    log = LogFile().open({"driver": driver, "path": str(path), "max_size": 40_000, "max_file": 99})
    found = bytearray()
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def follow() -> None:
        async for piece in read_log(str(path), Wanted(framed=False), driver=driver, ended=ended):
            found.extend(piece)
            await asyncio.sleep(0.01)  # slowly: it is several files behind most of the time

    def write() -> None:
        for start in range(0, len(lines), 50):
            log.write("stdout", b"".join(lines[start : start + 50]))
            name = f"{path}.1"
            if os.path.exists(name):
                with open(name, "rb") as source:
                    press(source, f"{path}.press")
                    log.settle(os.fstat(source.fileno()).st_ino, f"{path}.press")
        log.close()

    following = asyncio.create_task(follow())
    await asyncio.to_thread(write)
    ended.set_result(None)
    await asyncio.wait_for(following, 20)
    assert bytes(found) == b"".join(lines)
    assert len(list(tmp_path.glob("*.gz"))) > 4


# Written by Docker 26's driver "local": `sh -c 'echo hi; echo err >&2; echo'`, and the last piece of a long line.
DOCKERS = bytes.fromhex(
    "000000160a067374646f757410fbe6efd6f9aabaf6181a02686900000016000000170a0673746465727210bfe481d7f9aabaf6181a03657272"
    "00000017000000120a067374646f757410b5b58ad7f9aabaf61800000012")


async def test_dockers_own_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "container.log").write_bytes(DOCKERS)
    assert await read(tmp_path / "container.log", "local", timestamps=True) == (
        b"2026-11-30T19:28:33.883517819Z hi\n2026-11-30T19:28:33.883812415Z err\n"
        b"2026-11-30T19:28:33.883953845Z \n")


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 4, None])
async def test_the_driver_local_is_read_from_its_end(tmp_path: Path, tail: int | None) -> None:
    (tmp_path / "container.log").write_bytes(DOCKERS)
    lines = [b"hi\n", b"err\n", b"\n"]
    assert await read(tmp_path / "container.log", "local", tail=tail) == b"".join(
        lines if tail is None else lines[len(lines) - min(tail, 3):])


@pytest.mark.parametrize("cut", range(1, 26))
@pytest.mark.parametrize("tail", [1, None])
async def test_half_a_record_of_the_driver_local(tmp_path: Path, cut: int, tail: int | None) -> None:
    """A power cut: what is whole is read, and a new run goes on behind it."""
    path = tmp_path / "container.log"
    path.write_bytes(DOCKERS[:-cut])
    assert await read(path, "local", tail=tail) == b"err\n" if tail else b"hi\nerr\n"
    log = LogFile().open({"driver": "local", "path": str(path)})
    log.write("stdout", b"again\n")
    log.close()
    assert await read(path, "local") == b"hi\nerr\nagain\n"


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"\n", b"x" * 20_000])), max_size=8), st.binary())
def test_any_bytes_come_back_from_the_driver_local(batches: list[bytes], noise: bytes) -> None:
    form, records, fed = FORMATS["local"], LocalRecords(), Splitter()
    raw = b"".join((records.lines if whole else records.piece)(run, "stderr", BASE)
                   for batch in batches for run, whole in fed.feed(batch))
    rest = fed.end()
    raw += records.piece(rest, "stderr", BASE) if rest else b""
    found = form.parse(raw)
    assert b"".join(record.data for record in found) == b"".join(batches)
    assert {(record.stream, record.at) for record in found} <= {("stderr", BASE)}
    assert form.split(raw) == (raw, b"")
    form.parse(noise)  # whatever it is


def test_a_length_that_no_record_has_does_not_hoard_memory() -> None:
    whole, rest = FORMATS["local"].split(b"\xff" * 5000)
    assert (len(whole), rest) == (5000, b"")
