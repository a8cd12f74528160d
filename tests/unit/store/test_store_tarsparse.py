"""Files with holes in archives: with GNU tar and Python's reader as the others, and maps that can't be."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from kist.store import tarsparse, tree
from kist.store.tarformat import Entry
from kist.store.tarread import TarError, TarReader
from kist.store.tarwrite import TarWriter

MB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files with holes in front, between and behind, and one that is nothing else."""
    made = tmp_path / "from" / "deep"
    made.mkdir(parents=True)
    _write(made / "holes", 8 * MB, (0, b"front"), (3 * MB + 7, b"middle"), (8 * MB - 3, b"end"))
    _write(made / "behind", 4 * MB, (0, b"x" * 5000))
    _write(made / "none", 2 * MB)
    _write(made / ("long" * 60), 4 * MB, (MB, b"long"))
    (made / "plain").write_bytes(b"plain" * 1000)
    if (made / "none").stat().st_blocks:
        pytest.skip("this file system has no holes")
    return tmp_path / "from"


def _write(path: Path, size: int, *pieces: tuple[int, bytes]) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for at, data in pieces:
            file.seek(at)
            file.write(data)


def exported(folder: Path) -> bytes:
    out = io.BytesIO()
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        writer = TarWriter(out)
        tree.export(fd, writer, sparse=True)
        writer.close()
    finally:
        os.close(fd)
    return out.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_others_read_what_is_written(folder: Path, tmp_path: Path) -> None:
    data = exported(folder)
    assert len(data) < MB
    (tmp_path / "to").mkdir()
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path / "to"], input=data, check=True)
    assert contents(tmp_path / "to") == contents(folder)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for name, content in contents(folder).items():
            member = archive.extractfile(name)
            assert member is not None and member.read() == content, name


@pytest.mark.parametrize("form", ["own", "gnu", "posix"])
def test_what_is_read(folder: Path, form: str) -> None:
    data = exported(folder) if form == "own" else subprocess.run(
        ["tar", "-cS", f"--format={form}", "-C", folder, "deep"], capture_output=True, check=True).stdout
    found = {}
    reader = TarReader(io.BytesIO(data), sparse=True)
    for entry in reader:
        if not entry.name.endswith(b"/"):
            found[os.fsdecode(entry.name)] = _whole(entry, b"".join(map(bytes, reader.chunks())))
    assert found == contents(folder)
    with pytest.raises(TarError, match="sparse files are not supported"):
        for _ in TarReader(io.BytesIO(data)):
            pass


def _whole(entry: Entry, data: bytes) -> bytes:
    if entry.sparse is None:
        return data
    whole, at = bytearray(entry.size), 0
    for begin, length in entry.sparse:
        whole[begin:begin + length] = data[at:at + length]
        at += length
    assert at == len(data)
    return bytes(whole)


def test_very_many_holes_become_fewer(tmp_path: Path) -> None:
    step = 2 * tarsparse.LEAST_HOLE
    with (tmp_path / "sieve").open("w+b") as file:
        for number in range(tarsparse.MAX_SEGMENTS + 10):
            file.seek(number * step)
            file.write(b"x")
        size = file.tell()
        found = tarsparse.segments_of(file.fileno(), size)
        assert found is None or len(found) <= tarsparse.MAX_SEGMENTS + 1


def archive(mapped: bytes, size: int, **records: str) -> bytes:
    """A file of format 1.0 whose map and data are these bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("GNUSparseFile.0/x")
        info.size = len(mapped)
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "x",
                            "GNU.sparse.realsize": str(size), **{f"GNU.sparse.{k}": v for k, v in records.items()}}
        tar.addfile(info, io.BytesIO(mapped))
    return out.getvalue()


def block(text: bytes) -> bytes:
    return text + bytes(-len(text) % 512)


@pytest.mark.parametrize(("mapped", "size", "words"), [
    (block(b"1\n0\n5\n") + b"12345", 4, "overlap, or lie outside"),
    (block(b"2\n0\n3\n2\n2\n") + b"12345", 9, "overlap, or lie outside"),
    (block(b"1\n0\n4\n") + b"12345", 9, "the archive has 5"),
    (block(b"1\n0\n99999\n") + b"12345", 99999, "the archive has 5"),
    (block(b"-1\n"), 9, "no list of numbers"),
    (block(b"x\n"), 9, "no list of numbers"),
    (block(b"9999999999\n"), 9, "too large"),
    (bytes(2048), 9, "too large"),
    (block(b"5\n1\n1\n"), 9, "too large"),
    (b"3\n0\n1\n", 9, "cut off"),
    (b"", 9, "cut off"),
    (block(b"0\n"), 1 << 63, "invalid size"),
])
def test_maps_that_can_not_be(mapped: bytes, size: int, words: str) -> None:
    with pytest.raises(TarError, match=words):
        TarReader(io.BytesIO(archive(mapped, size)), sparse=True).next()


@pytest.mark.parametrize("records", [{"minor": "1"}, {"major": "0"}, {"realsize": "x"}, {"realsize": "-5"}])
def test_other_forms_are_refused(records: dict[str, str]) -> None:
    with pytest.raises(TarError):
        TarReader(io.BytesIO(archive(block(b"0\n"), 9, **records)), sparse=True).next()


def test_old_headers_that_can_not_be() -> None:
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"

    def read(pairs: bytes, real: bytes, more: bytes = b"") -> None:
        header[386:483] = pairs.ljust(96, b"\0") + (b"\1" if more else b"\0")
        header[483:495] = real
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        TarReader(io.BytesIO(bytes(header) + more + bytes(1024)), sparse=True).next()

    read(b"", b"00000000777\0")  # a hole and nothing else
    for pairs, real in ((b"00000000000\0" b"00000000005\0", b"00000000777\0"), (b"", b"\xff" * 12),
                        (b"00000000000\0" b"zzz\0\0\0\0\0\0\0\0\0", b"00000000777\0"), (b"", b"\x80" + b"\xff" * 11)):
        with pytest.raises(TarError):
            read(pairs, real)
    with pytest.raises(TarError, match="too large"):
        read(b"", b"00000000777\0", more=(b"00000000000\0" * 42 + b"\1" + bytes(7)) * 5000)
