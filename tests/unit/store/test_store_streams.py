"""Decompressors, the parts of the pull's pipe, locks by name, leases, the trash."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kist.store import compress
from kist.store.compress import CompressionError, decompress
from kist.store.errors import InvalidLayer
from kist.store.leases import Leases
from kist.store.locks import KeyLocks
from kist.store.streams import Ahead, Bounded, Hashed, Joined
from kist.store.tarread import Source
from kist.store.trash import Trash, remove_tree

DATA = os.urandom(100_000) + bytes(300_000)
FORMS = {
    "none": DATA, "gzip": gzip.compress(DATA), "zstd": zstandard.compress(DATA), "bzip2": bz2.compress(DATA),
    "xz": lzma.compress(DATA),
}


def read_all(source: Source, step: int = 70_000) -> bytes:
    return b"".join(iter(lambda: source.read(step), b""))


class Failing:
    """Gives some bytes, then an error."""

    def __init__(self, data: bytes, error: Exception) -> None:
        self._file, self._error = io.BytesIO(data), error

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        if not data:
            raise self._error
        return data


@pytest.mark.parametrize("form", FORMS)
def test_every_compression_is_told_by_its_bytes(form: str) -> None:
    assert compress.detect(FORMS[form][:6]) == form
    assert read_all(decompress(io.BytesIO(FORMS[form]))) == DATA
    assert read_all(decompress(Joined(FORMS[form][at:at + 3] for at in range(0, len(FORMS[form]), 3)))) == DATA


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_streams_of_several_members_and_frames(form: str) -> None:
    assert read_all(decompress(io.BytesIO(FORMS[form] * 3))) == DATA * 3


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz"])
def test_broken_streams_are_refused(form: str) -> None:
    broken = bytearray(FORMS[form])
    broken[len(broken) // 2] ^= 0xFF
    with pytest.raises(CompressionError, match=r"invalid|unexpected EOF"):
        read_all(decompress(io.BytesIO(bytes(broken[:-10]))))


@pytest.mark.parametrize("form", ["gzip", "zstd", "bzip2", "xz"])
def test_whatever_byte_is_wrong_it_is_the_stream_that_is_broken(form: str) -> None:
    whole = FORMS[form]
    for at in range(10, min(len(whole), 2000)):
        wrong = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:]
        try:
            read_all(decompress(io.BytesIO(wrong)))
        except CompressionError:
            pass


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_the_sources_own_errors_come_through(form: str) -> None:
    with pytest.raises(ConnectionError):
        read_all(decompress(Failing(FORMS[form][:-100], ConnectionError())))


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_a_bomb_gives_only_what_is_asked_for(form: str) -> None:
    bomb = (gzip.compress if form == "gzip" else zstandard.compress)(bytes(50_000_000))
    assert len(decompress(io.BytesIO(bomb)).read(1000)) <= 1000
    with pytest.raises(InvalidLayer, match="layer is larger than 1000000 bytes"):
        read_all(Bounded(decompress(io.BytesIO(bomb)), 1_000_000))


@given(st.lists(st.binary(max_size=50)), st.integers(1, 60))
def test_joined_pieces(pieces: list[bytes], step: int) -> None:
    assert read_all(Joined(iter(pieces)), step) == b"".join(pieces)
    assert Joined(iter(pieces)).read() == b"".join(pieces)


def test_hashed_and_read_ahead() -> None:
    hashed = hashlib.sha256()
    with Ahead(Hashed(io.BytesIO(DATA * 20), hashed)) as ahead:
        assert read_all(ahead, 1234) == DATA * 20
        assert ahead.read(5) == b""
    assert hashed.digest() == hashlib.sha256(DATA * 20).digest()


def test_errors_come_out_of_reading_ahead_in_order() -> None:
    with Ahead(Failing(DATA, ConnectionError())) as ahead:
        assert len(ahead.read(10)) == 10
        with pytest.raises(ConnectionError):
            read_all(ahead)


def test_an_abandoned_read_ahead_leaves_its_source_alone() -> None:
    reads = []

    class Endless:
        def read(self, size: int = -1, /) -> bytes:
            reads.append(size)
            return b"x" * 1000

    with Ahead(Endless()):
        pass
    count = len(reads)
    time.sleep(0.05)
    assert len(reads) == count


def test_locks_are_per_name_and_leave_nothing() -> None:
    locks = KeyLocks()
    order: list[str] = []
    inside = threading.Event()

    def other() -> None:
        with locks.hold("a"):
            order.append("second")

    with locks.hold("a"):
        thread = threading.Thread(target=other)
        thread.start()
        with locks.hold("b"):
            inside.wait(0.05)
            order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert locks._locks == {}


def test_leases_protect_what_was_touched_since_they_began() -> None:
    leases = Leases()
    leases.touch("before")
    with leases.lease():
        assert leases.remove("before", lambda: 1) == 1
        leases.touch("within")
        with leases.lease():
            assert leases.remove("within", lambda: 1) is None
        assert leases.remove("within", lambda: 1) is None
    assert leases.remove("within", lambda: 1) == 1


def test_a_use_is_seen_by_a_collection_that_began_meanwhile() -> None:
    leases = Leases()
    use = leases.using("layer")
    use.__enter__()
    collection = leases.lease()
    collection.__enter__()
    use.__exit__(None, None, None)
    assert leases.remove("layer", lambda: 1) is None
    collection.__exit__(None, None, None)


@pytest.fixture
def trash(tmp_path: Path) -> Iterator[Trash]:
    trash = Trash(str(tmp_path / "trash"))
    yield trash
    trash.close()


def test_trash_is_gone_at_once_and_emptied_later(tmp_path: Path, trash: Trash) -> None:
    for number in range(20):
        (tmp_path / f"tree{number}" / "a/b").mkdir(parents=True)
        (tmp_path / f"tree{number}" / "a/b/file").write_text("x")
        assert trash.throw(str(tmp_path / f"tree{number}"))
        assert not (tmp_path / f"tree{number}").exists()
    assert not trash.throw(str(tmp_path / "nothing"))
    trash.wait()
    assert list((tmp_path / "trash").iterdir()) == []


def test_trees_deeper_than_any_path_are_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    top = tmp_path / "deep"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("dir", dir_fd=fd)
        os.symlink(outside, "link", dir_fd=fd)
        new = os.open("dir", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = new
    os.close(fd)
    remove_tree(str(top))
    assert not top.exists()
    assert (outside / "kept").exists()
    remove_tree(str(top))
