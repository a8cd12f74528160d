"""One suite for the content stores on disk and in memory, and what only the disk has."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from kist.oci.digest import Digest, of
from kist.store.content import ContentStore, DiskContent
from kist.store.errors import DigestMismatch, NoSuchContent
from kist.store.memory import MemoryContent
from kist.store.trash import Trash

DATA = b"some content" * 1000
NAME = of(DATA)


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ContentStore]:
    if request.param == "memory":
        yield MemoryContent()
        return
    trash = Trash(str(tmp_path / "trash"))
    yield DiskContent(str(tmp_path / "content"), trash)
    trash.close()


def fill(store: ContentStore, name: Digest, size: int | None, pieces: Iterable[bytes], offset: int = 0) -> None:
    """Write *pieces* and publish; *offset* bytes must be there from before."""
    with store.writer(name, size) as writer:
        assert writer.offset == offset
        for piece in pieces:
            writer.write(piece)
        writer.commit()


def breaking_off(data: bytes) -> Iterator[bytes]:
    yield data
    raise ConnectionError


def test_what_is_put_is_there(store: ContentStore) -> None:
    assert not store.has(NAME)
    assert store.put(DATA) == NAME
    assert store.put(DATA) == NAME
    assert store.has(NAME)
    assert store.size(NAME) == len(DATA)
    assert store.read(NAME, len(DATA)) == DATA
    with store.open(NAME) as file:
        assert file.read(4) == DATA[:4]
    assert store.list() == [NAME]


def test_nothing_is_there_that_was_not_put(store: ContentStore) -> None:
    with pytest.raises(NoSuchContent):
        store.open(NAME)
    with pytest.raises(NoSuchContent):
        store.size(NAME)
    assert store.delete(NAME) == 0


def test_reading_is_bounded(store: ContentStore) -> None:
    store.put(DATA)
    with pytest.raises(DigestMismatch, match="larger than"):
        store.read(NAME, len(DATA) - 1)


def test_written_in_pieces(store: ContentStore) -> None:
    for algorithm in ("sha256", "sha512"):
        name = of(DATA, algorithm)
        with store.writer(name, len(DATA)) as writer:
            for at in range(0, len(DATA), 999):
                writer.write(memoryview(DATA)[at:at + 999])
            assert not store.has(name)
            writer.commit()
        assert store.read(name, 1 << 20) == DATA


@pytest.mark.parametrize(("data", "size", "words"), [
    (DATA[:-1] + b"x", len(DATA), "digest is"),
    (DATA[:-1], None, "digest is"),
])
def test_lies_are_not_published_and_not_kept(store: ContentStore, data: bytes, size: int | None, words: str) -> None:
    with pytest.raises(DigestMismatch, match=words):
        fill(store, NAME, size, [data])
    assert not store.has(NAME)
    with store.writer(NAME, size) as writer:
        assert writer.offset == 0


def test_what_broke_off_is_not_published_but_kept(store: ContentStore) -> None:
    with pytest.raises(DigestMismatch, match="of the announced"):
        fill(store, NAME, len(DATA), [DATA[:-1]])
    assert not store.has(NAME)
    fill(store, NAME, len(DATA), [DATA[-1:]], offset=len(DATA) - 1)
    assert store.has(NAME)


def test_an_endless_source_is_cut_off(store: ContentStore) -> None:
    with pytest.raises(DigestMismatch, match="more than the announced"):
        fill(store, NAME, 100, itertools.repeat(b"x" * 64))
    assert not store.has(NAME)


def test_an_interrupted_writer_is_resumed(store: ContentStore) -> None:
    with pytest.raises(ConnectionError):
        fill(store, NAME, len(DATA), breaking_off(DATA[:5000]))
    fill(store, NAME, len(DATA), [DATA[5000:]], offset=5000)
    assert store.read(NAME, 1 << 20) == DATA


def test_a_source_that_can_not_go_on_starts_again(store: ContentStore) -> None:
    with store.writer(NAME, len(DATA)) as writer:
        writer.write(b"wrong")
    with store.writer(NAME, len(DATA)) as writer:
        writer.restart()
        assert writer.offset == 0
        writer.write(DATA)
        writer.commit()
    assert store.read(NAME, 1 << 20) == DATA


def test_two_writers_share_the_work(store: ContentStore) -> None:
    started, go, seen = threading.Event(), threading.Event(), []

    def first() -> None:
        with store.writer(NAME, len(DATA)) as writer:
            writer.write(DATA[:10])
            started.set()
            go.wait(10)
            writer.write(DATA[10:])
            writer.commit()

    def second() -> None:
        started.wait(10)
        with store.writer(NAME, len(DATA)) as writer:
            seen.append((writer.complete, store.has(NAME)))
            writer.commit()

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    started.wait(10)
    assert seen == []
    go.set()
    for thread in threads:
        thread.join(10)
    assert seen == [(True, True)]


def test_many_writers_of_many_contents(store: ContentStore) -> None:
    blobs = [os.urandom(5000) for _ in range(8)]
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for blob in blobs:
                store.put(blob)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert sorted(store.list()) == sorted(of(blob) for blob in blobs)
    assert all(store.read(of(blob), 5000) == blob for blob in blobs)


def test_deleting(store: ContentStore) -> None:
    store.put(DATA)
    assert store.delete(NAME) == len(DATA)
    assert not store.has(NAME)
    assert store.list() == []


# -- only on disk -----------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DiskContent]:
    trash = Trash(str(tmp_path / "trash"))
    yield DiskContent(str(tmp_path / "content"), trash)
    trash.close()


def test_partial_content_survives_a_new_store(tmp_path: Path, disk: DiskContent) -> None:
    with disk.writer(NAME, len(DATA)) as writer:
        writer.write(DATA[:777])
    again = DiskContent(str(tmp_path / "content"), Trash(str(tmp_path / "trash")))
    with again.writer(NAME, len(DATA)) as writer:
        assert writer.offset == 777


def test_a_partial_file_that_is_too_long_is_dropped(disk: DiskContent) -> None:
    Path(disk.partial_path(NAME)).write_bytes(bytes(len(DATA) + 1))
    with disk.writer(NAME, len(DATA)) as writer:
        assert writer.offset == 0


def test_a_partial_file_with_wrong_bytes_is_found_out(disk: DiskContent) -> None:
    Path(disk.partial_path(NAME)).write_bytes(bytes(100))
    with pytest.raises(DigestMismatch):
        fill(disk, NAME, len(DATA), [DATA[100:]], offset=100)
    assert not disk.has(NAME)


def test_old_partial_files_are_dropped(disk: DiskContent) -> None:
    with disk.writer(NAME, len(DATA)) as writer:
        writer.write(DATA[:100])
    assert disk.drop_partials(older_than=3600) == 0
    assert disk.drop_partials(older_than=0) == 100


def test_what_is_being_written_is_not_dropped(disk: DiskContent) -> None:
    with disk.writer(NAME, len(DATA)) as writer, disk.spool() as spool:
        writer.write(DATA)
        spool.write(b"spooled")
        assert disk.drop_partials(older_than=0) == 0
        writer.commit()
        assert spool.commit() == of(b"spooled")
    assert disk.has(NAME)


def test_spooled_content_gets_its_name_at_the_end(tmp_path: Path, disk: DiskContent) -> None:
    with disk.spool() as spool:
        spool.write(DATA)
        assert disk.list() == []
        assert spool.commit() == NAME
    with disk.spool() as spool:
        spool.write(b"never committed")
    assert disk.read(NAME, 1 << 20) == DATA
    assert list((tmp_path / "content/partial").iterdir()) == []


def test_every_look_is_reported(tmp_path: Path) -> None:
    touched: list[Digest] = []
    store = DiskContent(str(tmp_path / "content"), Trash(str(tmp_path / "trash")), touched.append)
    store.has(NAME)
    assert touched == [NAME]
