"""One suite for every blob storage."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kist.hub.blobs import BlobStorage, DiskBlobs, MemoryBlobs
from kist.oci import digest as digests
from kist.oci.digest import Digest

A, B = "0" * 32, "1" * 32
DATA = b"some bytes"
DIGEST = digests.of(DATA)


@pytest.fixture(params=["memory", "disk"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStorage:
    return MemoryBlobs() if request.param == "memory" else DiskBlobs(tmp_path)


def put(blobs: BlobStorage, data: bytes = DATA, upload: str = A) -> Digest:
    blobs.begin(upload)
    blobs.append(upload, 0, [data])
    blobs.seal(upload)
    blobs.publish(upload, digests.of(data))
    return digests.of(data)


def test_an_upload_becomes_a_blob(blobs: BlobStorage) -> None:
    assert blobs.size(DIGEST) is None
    with pytest.raises(FileNotFoundError):
        blobs.open(DIGEST)
    put(blobs)
    assert blobs.size(DIGEST) == len(DATA)
    with blobs.open(DIGEST) as file:
        file.seek(5)
        assert file.read() == DATA[5:]
    assert list(blobs.digests()) == [DIGEST]
    assert list(blobs.uploads()) == []
    path = blobs.path(DIGEST)
    assert path is None or Path(path).read_bytes() == DATA


def test_appending_in_pieces_and_again(blobs: BlobStorage) -> None:
    blobs.begin(A)
    assert blobs.upload_size(A) == 0
    blobs.append(A, 0, [b"abc", b"", b"def"])
    blobs.append(A, 6, [b"ghi"])
    assert blobs.upload_size(A) == 9
    blobs.append(A, 4, [b"XY"])  # what was behind the offset is gone
    with blobs.open_upload(A) as file:
        assert file.read() == b"abcdXY"


def test_unknown_uploads(blobs: BlobStorage) -> None:
    assert blobs.upload_size(A) is None
    for act in (lambda: blobs.append(A, 0, [b"x"]), lambda: blobs.open_upload(A), lambda: blobs.seal(A)):
        with pytest.raises(FileNotFoundError):
            act()
    blobs.discard(A)


def test_uploads_are_listed_with_their_last_touch(blobs: BlobStorage) -> None:
    blobs.begin(A)
    blobs.begin(B)
    with pytest.raises(FileExistsError):
        blobs.begin(A)
    found = dict(blobs.uploads())
    assert set(found) == {A, B}
    assert all(abs(time.time() - touched) < 60 for touched in found.values())
    blobs.discard(A)
    assert [upload for upload, _ in blobs.uploads()] == [B]


def test_delete(blobs: BlobStorage) -> None:
    put(blobs)
    blobs.delete(DIGEST)
    blobs.delete(DIGEST)
    assert blobs.size(DIGEST) is None


def test_a_reader_keeps_what_is_deleted(blobs: BlobStorage) -> None:
    put(blobs)
    with blobs.open(DIGEST) as file:
        blobs.delete(DIGEST)
        assert file.read() == DATA


def test_disk_blobs_survive_the_process_and_ignore_strangers(tmp_path: Path) -> None:
    put(DiskBlobs(tmp_path))
    (tmp_path / "blobs" / "sha256" / "ab").mkdir()
    (tmp_path / "blobs" / "sha256" / "ab" / "stranger").touch()
    again = DiskBlobs(tmp_path)
    assert list(again.digests()) == [DIGEST]
    path = again.path(DIGEST)
    assert path is not None
    assert os.stat(path).st_mode & 0o077 == 0
