"""The tar reader and writer: against Python's tarfile, GNU tar, and archives that are wrong."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kist.store import tarformat, tarread
from kist.store.tarformat import Entry
from kist.store.tarread import TarError, TarReader
from kist.store.tarwrite import TarWriter
from support.tars import END, file, pax, raw_header, tar


class Dribble:
    """Gives at most *step* bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._file, self._step = io.BytesIO(data), step

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(min(size, self._step))


def entries(data: bytes, step: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    reader = TarReader(Dribble(data, step))
    found = [(entry, b"".join(reader.chunks())) for entry in reader]
    reader.drain()
    return found


_name = st.binary(min_size=1, max_size=300).filter(lambda n: b"\0" not in n and not n.endswith(b"/"))


@st.composite
def _entry(draw: Any) -> tuple[Entry, bytes]:
    kind = draw(st.sampled_from([tarformat.REGULAR, tarformat.DIRECTORY, tarformat.SYMLINK, tarformat.HARDLINK,
                                 tarformat.CHARDEV, tarformat.BLOCKDEV, tarformat.FIFO]))
    link = draw(_name) if kind in (tarformat.SYMLINK, tarformat.HARDLINK) else b""
    data = draw(st.binary(max_size=2000)) if kind == tarformat.REGULAR else b""
    device = kind in (tarformat.CHARDEV, tarformat.BLOCKDEV)
    number = st.integers(0, 0o7777777) if device else st.just(0)
    return Entry(
        draw(_name), kind, mode=draw(st.integers(0, 0o7777)), uid=draw(st.integers(0, 1 << 32)),
        gid=draw(st.integers(0, 1 << 32)), size=len(data), linkname=link,
        mtime=draw(st.integers(-(10**10), 10**12)) * 1_000_000_000, major=draw(number), minor=draw(number),
        xattrs=draw(st.dictionaries(st.text("abc.-é", min_size=1, max_size=9), st.binary(max_size=20), max_size=2)),
    ), data


def values(entry: Entry) -> dict[str, Any]:
    found = {name: getattr(entry, name) for name in Entry.__slots__}
    if entry.type == tarformat.DIRECTORY:
        found["name"] = entry.name.rstrip(b"/")
    return found


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_entry(), max_size=4), st.integers(1, 3000))
def test_what_is_written_is_read_again(made: list[tuple[Entry, bytes]], step: int) -> None:
    found = entries(tar(*made), step)
    assert [(values(entry), data) for entry, data in found] == [(values(entry), data) for entry, data in made]


@given(st.lists(_entry(), max_size=4))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_pythons_tarfile_reads_what_is_written(made: list[tuple[Entry, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(tar(*made))) as archive:
        found = archive.getmembers()
    expected = [entry.name.decode("utf-8", "surrogateescape").rstrip("/") for entry, _ in made]
    assert [member.name.rstrip("/") for member in found] == expected
    assert [member.size for member in found] == [entry.size for entry, _ in made]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_what_pythons_tarfile_writes_is_read(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name in ("short", "d" * 120 + "/" + "n" * 140, "ü" * 90):
            member = tarfile.TarInfo(name)
            member.size, member.uid, member.mtime = 1000, 3_000_000, 1_700_000_000
            member.pax_headers = {"SCHILY.xattr.user.x": "1"} if form == tarfile.PAX_FORMAT else {}
            archive.addfile(member, io.BytesIO(b"x" * 1000))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * 200
        archive.addfile(link)
    found = entries(out.getvalue(), 700)
    assert [entry.name.decode() for entry, _ in found] == ["short", "d" * 120 + "/" + "n" * 140, "ü" * 90, "link"]
    assert found[3][0].linkname == b"t" * 200
    assert {data for _, data in found[:3]} == {b"x" * 1000}
    assert {entry.uid for entry, _ in found[:3]} == {3_000_000}
    if form == tarfile.PAX_FORMAT:
        assert found[0][0].xattrs == {"user.x": b"1"}


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "pax"])
def test_what_gnu_tar_writes_is_read(form: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"data")
    (tmp_path / "d/hard").hardlink_to(tmp_path / "d/file")
    (tmp_path / "d/soft").symlink_to("file")
    made = subprocess.run(["tar", f"--format={form}", "--sort=name", "-C", tmp_path, "-c", "d"],
                          stdout=subprocess.PIPE, check=True)
    found = [(entry.name.rstrip(b"/"), entry.type, entry.linkname, data) for entry, data in entries(made.stdout)]
    assert found == [(b"d", b"5", b"", b""), (b"d/file", b"0", b"", b"data"), (b"d/hard", b"1", b"d/file", b""),
                     (b"d/soft", b"2", b"file", b"")]


def test_binary_numbers_and_fractions_of_seconds() -> None:
    big = b"\x80" + (5 << 33).to_bytes(11, "big")
    found = entries(raw_header(b"x", b"5", big, uid=b"\x80" + (7 << 21).to_bytes(7, "big"), magic=b"ustar  \0"))
    assert (found[0][0].uid, found[0][0].size) == (7 << 21, 0)
    negative = b"\xff" * 12
    assert entries(raw_header(b"x", mtime=negative))[0][0].mtime == -1_000_000_000
    for text, nanoseconds in ((b"1.5", 1_500_000_000), (b"-1.25", -1_250_000_000), (b"0.1234567899", 123_456_789)):
        assert entries(pax(b"mtime=" + text) + raw_header(b"x"))[0][0].mtime == nanoseconds


def test_later_records_win_and_empty_ones_take_back() -> None:
    data = pax(b"path=one", b"path=two", b"uid=9", b"uid=", b"hdrcharset=BINARY", b"comment=x") + raw_header(b"x")
    assert (entries(data)[0][0].name, entries(data)[0][0].uid) == (b"two", 0)


def test_global_records_are_ignored_as_in_docker() -> None:
    glob = pax(b"path=evil")
    glob = raw_header(b"g", b"g", b"%011o" % 13) + glob[512:]
    assert entries(glob + raw_header(b"x"))[0][0].name == b"x"


def test_old_directories_are_told_by_their_name() -> None:
    assert entries(raw_header(b"old/", b"\0", magic=b""))[0][0].type == tarformat.DIRECTORY
    assert entries(raw_header(b"new/", b"0", b"%011o" % 3) + b"abc".ljust(512, b"\0"))[0][1] == b"abc"


def test_the_end_may_be_missing_or_padded() -> None:
    whole = tar(file("a", b"x"))
    assert len(entries(whole[:1024])) == 1
    assert len(entries(whole + b"anything" * 100)) == 1
    assert entries(b"") == entries(END) == []


@pytest.mark.parametrize(("data", "words"), [
    (b"x" * 512, "invalid tar header"),
    (b"\x1f\x8b" + bytes(600), "invalid tar header"),
    (raw_header(b"x")[:300], "unexpected EOF"),
    (raw_header(b"x", size=b"00000001000") + b"short", "unexpected EOF"),
    (raw_header(b"x", size=b"-0000000001"), "size"),
    (raw_header(b"x", size=b"0_0_0_0_0_0"), "size"),
    (raw_header(b"x", size=b"0o000000001"), "size"),
    (raw_header(b"x", size=b"99999999999"), "size"),
    (raw_header(b"x", size=b"\xff" * 12), "size"),
    (raw_header(b"x", b"0", b"\x80" + b"\xff" * 11), "size"),
    (raw_header(b"x", uid=b"+000001"), "uid"),
    (raw_header(b"x", b"S"), "sparse"),
    (pax(b"GNU.sparse.major=1") + raw_header(b"x"), "sparse"),
    (raw_header(b"x", b"M"), "unhandled"),
    (raw_header(b"x", b"Z"), "unhandled"),
    (pax(b"path=x"), "between"),
    (raw_header(b"p", b"x", b"%011o" % (2 << 20)), "extended header of"),
    (raw_header(b"l", b"L", b"77777777777"), "extended header of"),
    (raw_header(b"p", b"x", b"%011o" % 9) + b"9 path=x\n".ljust(512, b"\0")[:8].ljust(512, b"\0"), "pax"),
    (raw_header(b"p", b"x", b"%011o" % 9) + b"8 path=x\n".ljust(512, b"\0"), "pax"),
    (raw_header(b"p", b"x", b"%011o" % 9) + b"99 path=\n".ljust(512, b"\0"), "pax"),
    (raw_header(b"p", b"x", b"%011o" % 9) + b"-9 path=\n".ljust(512, b"\0"), "pax"),
    (pax(b"path=a\0b") + raw_header(b"x"), "pax"),
    (pax(b"size=1e3") + raw_header(b"x"), "size"),
    (pax(b"size=-5") + raw_header(b"x"), "size"),
    (pax(b"uid=" + b"9" * 40) + raw_header(b"x"), "uid"),
    (pax(b"mtime=1.x") + raw_header(b"x"), "time"),
    (raw_header(b"a") + bytes(512) + raw_header(b"b"), "after an empty block"),
])
def test_wrong_archives(data: bytes, words: str) -> None:
    for step in (1 << 20, 100):
        with pytest.raises(TarError, match=words):
            entries(data, step)


@given(st.binary(max_size=3000), st.booleans(), st.binary(max_size=30), st.integers(0, 511))
def test_any_bytes_are_read_or_refused(data: bytes, header: bool, patch: bytes, at: int) -> None:
    if header:
        first = bytearray(raw_header(b"name"))
        first[at:at + len(patch)] = patch
        first = first[:512]
        first[148:156] = b"        "
        first[148:156] = b"%06o\0 " % sum(first)
        data = bytes(first) + data
    try:
        for entry, content in entries(data):
            assert len(content) == entry.size
    except TarError:
        pass


def test_the_writer_holds_entries_to_their_size() -> None:
    writer = TarWriter(io.BytesIO())
    writer.add(Entry(b"x", size=2))
    with pytest.raises(ValueError, match="more"):
        writer.write(b"abc")
    with pytest.raises(ValueError, match="less"):
        writer.close()


def test_names_in_messages_are_bounded_and_printable() -> None:
    shown = tarformat.show(b"a\x1b[31m\n\xff" + b"x" * 5000)
    assert shown.isprintable()
    assert len(shown) < 300


def test_large_numbers_in_octal_fields() -> None:
    assert tarread.parse_number(b"   755\0 ", "mode") == 0o755
    assert tarread.parse_number(b"\0\0\0\0", "mode") == 0
