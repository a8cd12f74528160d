"""What the store makes of fs-verity's answers, on a file system that has it (or not) as the test likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kist.linux import verity
from kist.store.errors import StorageFailure
from kist.store.sealing import Seals
from support.verity import InMemory, digest


def test_a_digest_as_the_kernel_computes_it() -> None:
    """Measured by fsverity-utils' and the kernel's own rules; the kernel itself is asked in test_linux_verity.py."""
    # fsverity-utils, testprogs: the digest of an empty file by SHA-256 and blocks of 4096
    assert digest(b"") == "sha256:3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"
    assert digest(bytes(4096)) != digest(bytes(4095)) != digest(bytes(8192))


def test_sealed_once_and_measured(tmp_path: Path) -> None:
    kernel, path = InMemory(), tmp_path / "file"
    seals = Seals(kernel)
    path.write_bytes(b"layer")
    found = seals.seal(str(path))
    assert found == digest(b"layer") == seals.seal(str(path))
    assert seals.problem(str(path), found) is None
    assert seals.problem(str(path), None) is None
    seals.check(str(path), found)


def test_another_file_is_not_mounted(tmp_path: Path) -> None:
    kernel, path = InMemory(), tmp_path / "file"
    seals = Seals(kernel)
    path.write_bytes(b"layer")
    found = seals.seal(str(path))
    (tmp_path / "other").write_bytes(b"other")
    path.rename(tmp_path / "kept")      # or the file system may give its inode to the next one
    (tmp_path / "other").rename(path)
    with pytest.raises(StorageFailure, match=r"No data available.*kist system check --repair"):
        seals.check(str(path), found)
    seals.seal(str(path))
    with pytest.raises(StorageFailure, match=r"its digest is sha256:.*, not sha256:"):
        seals.check(str(path), found)
    path.unlink()
    with pytest.raises(StorageFailure, match="No such file"):
        seals.check(str(path), found)


def test_where_there_is_no_fs_verity(tmp_path: Path) -> None:
    kernel, path = InMemory(), tmp_path / "file"
    path.write_bytes(b"layer")
    assert Seals(kernel).usable(str(tmp_path))
    assert Seals(kernel).seal(str(path))
    kernel.lacking = True
    seals = Seals(kernel)
    assert seals.seal(str(path)) is None
    assert seals.problem(str(path), "sha256:00") is None    # the store has moved there: nothing to hold it against
    assert not seals.usable(str(tmp_path))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_a_forked_child_has_open_for_a_moment(tmp_path: Path) -> None:
    kernel, path = InMemory(), tmp_path / "file"
    path.write_bytes(b"layer")
    kernel.busy = 3
    assert Seals(kernel).seal(str(path)) == digest(b"layer")
    (tmp_path / "other").write_bytes(b"other")
    kernel.busy = 1000
    assert Seals(kernel).seal(str(tmp_path / "other")) is None


def test_the_real_wrappers_say_when_there_is_none() -> None:
    with pytest.raises(OSError) as caught:
        verity.measure("/proc/self/stat")
    assert caught.value.errno in verity.LACKING
