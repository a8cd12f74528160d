"""The log: Docker's records, long lines in pieces, any bytes back again, rotation, a full disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.launcher.lines import MAX_LINE, JsonLines, Splitter, timestamp
from kist.launcher.log import JsonFile, NoLog, RotatingFile, open_log

STAMP = "2026-11-23T14:16:48.000000000Z"


def records(raw: bytes) -> list[dict[str, str]]:
    return [json.loads(line) for line in raw.split(b"\n")[:-1]]


def content(raw: bytes) -> bytes:
    return b"".join(record["log"].encode("utf-8", "surrogateescape") for record in records(raw))


def encode(data: bytes, *, end: bool = True) -> bytes:
    splitter, lines = Splitter(), JsonLines()
    out = [(lines.lines if whole else lines.piece)(run, "stdout", STAMP)
           for run, whole in splitter.feed(data)]
    rest = splitter.end()
    return b"".join(out) + (lines.piece(rest, "stdout", STAMP) if rest and end else b"")


def test_a_record_is_dockers() -> None:
    assert encode(b"hi\n") == b'{"log":"hi\\n","stream":"stdout","time":"2026-11-23T14:16:48.000000000Z"}\n'
    attrs = JsonLines('{"tag":"x"}')
    assert attrs.lines(b"hi\n", "stderr", STAMP) == (
        b'{"log":"hi\\n","stream":"stderr","attrs":{"tag":"x"},"time":"2026-11-23T14:16:48.000000000Z"}\n')


@pytest.mark.parametrize("data", [
    b"\n", b"\n\n\n", b'"quoted" \\n back\\slash\n', b"tab\tcr\rbell\x07nul\0del\x7f\n\x7f\n",
    "ä€😀\u2028\n".encode(), b"\xff\xfe\n", b"\xc3\n\xa4\n", b"\xed\xb2\x80 a surrogate\n", b"\0\x80binary\xff\x7f\n",
    b"no newline", bytes(range(256)),
])
def test_bytes_survive(data: bytes) -> None:
    assert content(encode(data)) == data


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"\n", b"\x7f", b"x" * MAX_LINE, b"\0"])),
                max_size=12))
def test_any_bytes_survive_in_any_batches(batches: list[bytes]) -> None:
    splitter, lines = Splitter(), JsonLines()
    raw = b"".join((lines.lines if whole else lines.piece)(run, "stdout", STAMP)
                   for batch in batches for run, whole in splitter.feed(batch))
    rest = splitter.end()
    raw += lines.piece(rest, "stdout", STAMP) if rest else b""
    assert content(raw) == b"".join(batches)
    for record in records(raw):
        assert "\n" not in record["log"][:-1]
        assert len(record["log"].encode("utf-8", "surrogateescape")) <= MAX_LINE


@pytest.mark.parametrize(("length", "pieces"), [
    (MAX_LINE - 1, [MAX_LINE]),  # with its newline it just fits
    (MAX_LINE, [MAX_LINE, 1]),
    (MAX_LINE + 1, [MAX_LINE, 2]),
    (3 * MAX_LINE, [MAX_LINE, MAX_LINE, MAX_LINE, 1]),
])
def test_long_lines_are_split_as_docker_does(length: int, pieces: list[int]) -> None:
    raw = encode(b"short\n" + b"x" * length + b"\nshort\n")
    assert [len(record["log"]) for record in records(raw)] == [6, *pieces, 6]


def test_a_line_in_two_reads_is_one_record() -> None:
    splitter = Splitter()
    assert list(splitter.feed(b"one\ntw")) == [(b"one\n", True)]
    assert list(splitter.feed(b"o\nthree")) == [(b"two\n", True)]
    assert splitter.end() == b"three"
    assert splitter.end() == b""


def test_timestamp() -> None:
    assert timestamp(1_700_000_000_000_000_042) == "2023-11-14T22:13:20.000000042Z"


def test_streams_are_kept_apart(tmp_path: Path) -> None:
    log = JsonFile(str(tmp_path / "log"), 0, 1)
    log.write("stdout", b"out ")
    log.write("stderr", b"error\n")
    log.write("stdout", b"put\nrest")
    log.close()
    assert [(r["stream"], r["log"]) for r in records((tmp_path / "log").read_bytes())] == [
        ("stderr", "error\n"), ("stdout", "out put\n"), ("stdout", "rest")]


def test_rotation_keeps_the_newest_records_whole(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    log = JsonFile(str(path), 1000, 3)
    for start in range(0, 200, 20):
        log.write("stdout", b"".join(b"line %d\n" % n for n in range(start, start + 20)))
    log.close()
    assert sorted(os.listdir(tmp_path)) == ["x-json.log", "x-json.log.1", "x-json.log.2"]
    files = [tmp_path / name for name in ("x-json.log.2", "x-json.log.1", "x-json.log")]
    assert all(0 < file.stat().st_size <= 1000 for file in files)
    numbers = [int(r["log"].split()[1]) for file in files for r in records(file.read_bytes())]
    assert numbers == list(range(numbers[0], 200))
    assert len(numbers) > 20


def test_one_file_is_emptied_when_full(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = RotatingFile(str(path), 10, 1)
    for record in (b"12345\n", b"abcdef\n"):
        file.append(record)
    file.append(b"a record longer than the file\nx\n")
    file.close()
    assert path.read_bytes() == b"x\n"
    assert os.listdir(tmp_path) == ["log"]


def test_half_a_record_of_a_power_cut_stays_apart(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"log":"hal')
    log = JsonFile(str(path), 0, 1)
    log.write("stdout", b"whole\n")
    log.close()
    lines = path.read_bytes().splitlines()
    assert lines[0] == b'{"log":"hal'
    assert json.loads(lines[1])["log"] == "whole\n"


def test_a_full_disk_drops_output_and_says_so_once(capfd: pytest.CaptureFixture[str]) -> None:
    file = RotatingFile("/dev/full", 0, 1)
    file.append(b"x\n")
    file.append(b"y\n")
    file.close()
    assert capfd.readouterr().err == "kist-monitor: /dev/full: No space left on device: output is not logged\n"


def test_drivers(tmp_path: Path) -> None:
    assert isinstance(open_log({"driver": "none"}), NoLog)
    log = open_log({"driver": "json-file", "path": str(tmp_path / "log"), "max_size": 100, "max_file": 2,
                    "attrs": {"tag": "t"}})
    log.write("stdout", b"x\n")
    log.close()
    assert json.loads((tmp_path / "log").read_bytes())["attrs"] == {"tag": "t"}
    with pytest.raises(ValueError, match="no such log driver: gelf"):
        open_log({"driver": "gelf"})
