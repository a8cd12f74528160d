"""The log: Docker's records, long lines in pieces, any bytes back again, rotation, a full disk."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.launcher.lines import MAX_LINE, JsonLines, Splitter, timestamp
from kist.launcher.log import LogFile, NoLog, RotatingFile, open_file, open_log, settle
from kist.launcher.loop import Loop
from kist.launcher.streams import Streams

if TYPE_CHECKING:
    from kist.launcher.log import Log

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
    log = LogFile().open({"driver": "json-file", "path": str(tmp_path / "log"), "max_size": 0, "max_file": 1})
    log.write("stdout", b"out ")
    log.write("stderr", b"error\n")
    log.write("stdout", b"put\nrest")
    log.close()
    assert [(r["stream"], r["log"]) for r in records((tmp_path / "log").read_bytes())] == [
        ("stderr", "error\n"), ("stdout", "out put\n"), ("stdout", "rest")]


def test_rotation_keeps_the_newest_records_whole(tmp_path: Path) -> None:
    path = tmp_path / "x-json.log"
    log = LogFile().open({"driver": "json-file", "path": str(path), "max_size": 1000, "max_file": 3})
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
    file = RotatingFile().open(str(path), 10, 1, open_file(str(path), "json-file"))
    for record in (b"12345\n", b"abcdef\n"):
        file.append(record)
    file.append(b"a record longer than the file\nx\n")
    file.close()
    assert path.read_bytes() == b"x\n"
    assert os.listdir(tmp_path) == ["log"]


def test_a_rotation_takes_compressed_files_along(tmp_path: Path) -> None:
    path, told = tmp_path / "log", []
    file = RotatingFile().open(str(path), 10, 4, open_file(str(path), "json-file"))
    file.on_rotated = lambda: told.append(sorted(os.listdir(tmp_path)))
    file.append(b"1111111\n")
    file.append(b"2222222\n")  # the first is .1 by now
    status = (tmp_path / "log.1").stat()
    file.append(b"3333333\n")  # … and .2, while it is being compressed
    (tmp_path / "copy").write_bytes(b"compressed")
    os.utime(tmp_path / "copy", ns=(0, status.st_mtime_ns))
    file.settle(status.st_ino, str(tmp_path / "copy"))
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2.gz"]
    file.append(b"4444444\n")
    assert (tmp_path / "log.3.gz").read_bytes() == b"compressed"
    file.append(b"5555555\n")
    file.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2", "log.3"]
    assert len(told) == 4


def test_a_copy_of_what_is_gone_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"compressed")
    settle(str(tmp_path / "log"), 3, 12345, str(tmp_path / "copy"))
    assert os.listdir(tmp_path) == []


def test_a_copy_of_a_file_whose_number_another_one_has_by_now_is_dropped(tmp_path: Path) -> None:
    """Inode numbers are given anew; the server that held the file may have been killed after it asked."""
    (tmp_path / "copy").write_bytes(b"compressed")
    (tmp_path / "log.1").write_bytes(b"another one")
    os.utime(tmp_path / "copy", ns=(0, (tmp_path / "log.1").stat().st_mtime_ns - 1))
    settle(str(tmp_path / "log"), 3, (tmp_path / "log.1").stat().st_ino, str(tmp_path / "copy"))
    assert os.listdir(tmp_path) == ["log.1"]
    with pytest.raises(FileNotFoundError):  # another server has removed it
        settle(str(tmp_path / "log"), 3, (tmp_path / "log.1").stat().st_ino, str(tmp_path / "copy"))
    assert (tmp_path / "log.1").read_bytes() == b"another one"


def test_who_reads_an_only_file_reads_it_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = RotatingFile().open(str(path), 10, 1, open_file(str(path), "json-file"))
    file.append(b"1111111\n")
    with path.open("rb") as reader:
        file.append(b"2222222\n")
        assert reader.read() == b"1111111\n"
    file.close()


def test_half_a_record_of_a_power_cut_stays_apart(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"log":"hal')
    log = LogFile().open({"driver": "json-file", "path": str(path), "max_size": 0, "max_file": 1})
    log.write("stdout", b"whole\n")
    log.close()
    lines = path.read_bytes().splitlines()
    assert lines[0] == b'{"log":"hal'
    assert json.loads(lines[1])["log"] == "whole\n"


def test_a_full_disk_drops_output_and_says_so_once(capfd: pytest.CaptureFixture[str]) -> None:
    file = RotatingFile().open("/dev/full", 0, 1, os.open("/dev/full", os.O_WRONLY))
    file.append(b"x\n")
    file.append(b"y\n")
    file.close()
    assert capfd.readouterr().err == "kist-monitor: /dev/full: No space left on device: output is not logged\n"


def test_drivers(tmp_path: Path, loop: Loop, streams: Streams) -> None:
    assert isinstance(open_log({"driver": "none"}, loop, streams), NoLog)
    for driver in ("json-file", "local"):
        log = open_log({"driver": driver, "path": str(tmp_path / driver), "max_size": 100, "max_file": 2,
                        "attrs": {"tag": "t"}}, loop, streams)
        log.write("stdout", b"x\n")
        log.close()
    assert json.loads((tmp_path / "json-file").read_bytes())["attrs"] == {"tag": "t"}
    assert (tmp_path / "local").read_bytes()[:13] == b"\0\0\0\x15\x0a\x06stdout\x10"
    with pytest.raises(ValueError, match="no such log driver: gelf"):
        open_log({"driver": "gelf"}, loop, streams)


def receiver(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    sock.settimeout(5)
    return sock


def syslog(address: list[Any], loop: Loop, streams: Streams, **words: Any) -> Log:
    return open_log({"driver": "syslog", "address": address, "mode": "blocking", "max_buffer": 1 << 20, "facility": 3,
                     "format": "", "tag": "abc", "host": "box", "pid": 7, **words}, loop, streams)


@pytest.mark.parametrize(("form", "pattern"), [
    ("", rb"<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d abc\[7\]: one"),
    ("rfc3164", rb"<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d box abc\[7\]: one"),
    ("rfc5424", rb"<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ box abc 7 abc - one"),
    ("rfc5424micro", rb"<30>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z box abc 7 abc - one"),
])
def test_syslog_by_datagrams(tmp_path: Path, loop: Loop, streams: Streams, form: str, pattern: bytes) -> None:
    with receiver(tmp_path / "log") as sock:
        log = syslog(["unix", str(tmp_path / "log")], loop, streams, format=form)
        log.write("stdout", b"one\ntwo\nthr")
        log.write("stderr", b"bad\n")
        log.close()
        got = [sock.recv(65536) for _ in range(4)]
    assert re.fullmatch(pattern + b"\n", got[0])  # as Docker 26 sends it
    assert [line.rsplit(b" ", 1)[1] for line in got] == [b"one\n", b"two\n", b"bad\n", b"thr\n"]
    assert got[2].startswith(b"<27>")


def test_syslog_over_tcp_is_lines(loop: Loop, streams: Streams) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        log = syslog(["tcp", *server.getsockname()], loop, streams)
        peer, _ = server.accept()
        with peer:
            log.write("stdout", b"one\ntwo\n")
            log.close()
            lines = peer.makefile("rb").read().splitlines()
    assert lines[0].startswith(b"<30>" + time.strftime("%b ").encode())  # not another format than a unix socket's
    assert [line.rsplit(b" ", 1)[1] for line in lines] == [b"one", b"two"]


def test_a_receiver_that_is_not_there_is_an_error_of_the_start(tmp_path: Path, loop: Loop, streams: Streams) -> None:
    with pytest.raises(OSError, match=r"dial unix .*/nobody: connect: no such file or directory"):
        syslog(["unix", str(tmp_path / "nobody")], loop, streams)


@pytest.mark.parametrize(("mode", "all_of_it"), [("blocking", True), ("non-blocking", False)])
def test_a_slow_receiver_holds_the_output_or_loses_lines(
        tmp_path: Path, loop: Loop, streams: Streams, mode: str, all_of_it: bool) -> None:
    read, write = os.pipe()
    streams.use_pipes(-1, read, -1)
    with receiver(tmp_path / "log") as sock:
        log = streams.log = syslog(["unixgram", str(tmp_path / "log")], loop, streams, mode=mode, max_buffer=4096)
        lines = [b"%05d" % number for number in range(3000)]

        def feed() -> None:
            os.write(write, b"\n".join(lines) + b"\n")
            os.close(write)

        feeder = threading.Thread(target=feed)
        feeder.start()
        got: list[bytes] = []

        def take() -> None:
            sock.setblocking(False)
            try:
                while True:
                    got.append(sock.recv(65536).split()[-1])
            except BlockingIOError:
                pass
            loop.after(take, 0.001, take)

        loop.after(take, 0.2, take)

        def look() -> None:
            if got[-1:] == lines[-1:] or (not all_of_it and got and not feeder.is_alive()):
                loop.stop()
            loop.after(look, 0.02, look)

        look()
        loop.after("end", 20.0, loop.stop)
        loop.run()
        feeder.join()
        log.close()
    assert (got == lines) is all_of_it
    assert got[0] == lines[0]


def test_journald_gets_fields(tmp_path: Path, loop: Loop, streams: Streams) -> None:
    with receiver(tmp_path / "log") as sock:
        log = open_log({"driver": "journald", "address": ["unixgram", str(tmp_path / "log")], "mode": "blocking",
                        "max_buffer": 1 << 20, "fields": {"CONTAINER_ID": "abc", "LABEL": "two\nlines"}}, loop, streams)
        log.write("stderr", b"what \xff it says\n")
        log.write("stdout", b"x" * MAX_LINE)
        log.close()
        first, second = sock.recv(65536), sock.recv(65536)
    size = (9).to_bytes(8, "little")
    assert first == (b"CONTAINER_ID=abc\nLABEL\n" + size + b"two\nlines\nPRIORITY=3\nMESSAGE=what \xff it says\n")
    assert b"PRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE=xxx" in second


@pytest.mark.parametrize("max_file", [1, 3])
def test_no_room_for_a_new_file(tmp_path: Path, capfd: pytest.CaptureFixture[str], max_file: int) -> None:
    """Not an inode is left when it is time to rotate: what is there stays, what comes is dropped, and when there is
    room again it is logged again. A container is never stopped by it."""
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "x"
    file = RotatingFile().open(str(path), 10, max_file, open_file(str(path), "json-file"))
    file.append(b"old.....\n")
    folder.rename(tmp_path / "away")
    for _ in range(3):
        file.append(b"lost....\n")
    (tmp_path / "away").rename(folder)
    assert {found.name: found.read_bytes() for found in folder.iterdir()} == {"x": b"old.....\n"}
    file.append(b"new.....\n")
    file.close()
    assert path.read_bytes() == b"new.....\n"
    assert len(list(folder.iterdir())) == min(max_file, 2)
    assert capfd.readouterr().err.count("output is not logged") == 1
