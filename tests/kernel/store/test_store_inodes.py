"""A layer as one EROFS file is, name for name and byte for byte, what unpacking it makes."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kist.errors import InvalidParameter
from kist.store import erofs, unpacking
from kist.store.difference import difference
from kist.store.errors import InvalidLayer
from kist.store.extract import Extractor
from kist.store.inodes import Inodes
from kist.store.tarread import TarReader
from kist.store.trash import remove_tree
from support import needs
from support.tars import directory, file, hardlink, node, symlink, tar


@pytest.fixture(autouse=True, scope="module")
def usable() -> None:
    needs.storage_driver("erofs")


@contextmanager
def sealed(folder: Path, data: bytes, lowers: Sequence[str] = (), limit_entries: int | None = None) -> Iterator[Path]:
    """The root of the layer *data*, mounted."""
    (folder / "fs").mkdir(parents=True)
    with Inodes(f"{folder}/{erofs.IMAGE}", bytes(16), limit_entries=limit_entries) as inodes:
        archive = TarReader(inodes.watch(io.BytesIO(data)))
        inodes.unpack(archive)
        archive.drain()
        inodes.finish(lowers)
    with erofs.opened([str(folder)]) as [root]:
        yield Path(root)


def plain(folder: Path, data: bytes, lowers: Sequence[str] = ()) -> Path:
    folder.mkdir()
    with Extractor(str(folder)) as extractor:
        extractor.unpack(TarReader(io.BytesIO(data)))
        extractor.finish(lowers)
    return folder


def attributes(root: Path) -> dict[str, dict[str, bytes]]:
    """What `difference` doesn't look at: extended attributes, times of what isn't a whiteout, numbers of links."""
    found: dict[str, dict[str, bytes]] = {}
    for folder, folders, files in os.walk(root):
        for path in [Path(folder), *(Path(folder, name) for name in folders + files)]:
            follow = path == root
            one = {key: os.getxattr(path, key, follow_symlinks=follow)
                   for key in os.listxattr(path, follow_symlinks=follow)}
            status = path.stat(follow_symlinks=follow)
            if not stat.S_ISDIR(status.st_mode):
                one["links"] = str(status.st_nlink).encode()
            found[str(path.relative_to(root))] = one
    return found


def test_as_unpacked(tmp_path: Path) -> None:
    acl = bytes.fromhex("0200000001000600ffffffff020004000700000004000400ffffffff10000400ffffffff20000000ffffffff")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    many = [file(f"many/{'n' * (number % 230)}{number:04}", bytes([number % 256]) * number, mtime=number * 10**9)
            for number in range(2000)]
    data = tar(
        directory("./", 0o711, uid=3, mtime=5 * 10**9), directory("d", 0o1777, uid=7, gid=70000, mtime=10**18 + 17),
        file("d/file", b"data" * 5000, mode=0o4755, uid=1, gid=2, mtime=123456789 * 10**9 + 5,
             xattrs={"user.x": b"1", "user." + "y" * 200: b"z" * 600, "security.capability": capability}),
        file("d/acl", mode=0o640, xattrs={"system.posix_acl_access": acl}),
        symlink("d/link", "/etc/passwd"), symlink("d/long", "/x" * 1000), hardlink("d/hard", "/d/file"),
        node("d/null", "c", 1, 3, 0o666), node("d/disk", "b", 259, 70000), node("d/fifo", "p", mode=0o622),
        file("d/empty", b"", mode=0), file("d/.wh.gone"), directory("o"), file("o/.wh..wh..opq"), *many,
        file("d/replaced", b"one"), file("d/replaced", b"two"), symlink("l", "many"), file("l/through", b"link"),
        directory("d/replaced"), file("not/told/of", b"x"), file("last", b"y" * 511))
    with sealed(tmp_path / "sealed", data) as root:
        wanted = plain(tmp_path / "plain", data)
        assert difference(str(wanted), str(root)) is None
        assert attributes(wanted) == attributes(root)
        for name in ("d/file", "d", "many/0000", "d/long"):
            assert (wanted / name).lstat().st_mtime_ns == (root / name).lstat().st_mtime_ns
        assert (root.stat().st_mtime, root.stat().st_uid) == (5, 3)
        assert (root / "d/file").stat().st_ino == (root / "d/hard").stat().st_ino


def test_a_real_tree(tmp_path: Path) -> None:
    data = subprocess.run(["tar", "-C", "/usr/lib/python3", "-c", "."], stdout=subprocess.PIPE, check=True).stdout
    with sealed(tmp_path / "sealed", data) as root:
        assert difference(str(plain(tmp_path / "plain", data)), str(root)) is None


def test_what_the_layers_below_give(tmp_path: Path) -> None:
    below = tar(directory("a", 0o700, uid=5, mtime=7 * 10**9), file("a/file", b"below" * 300, mode=0o4711, uid=9),
                symlink("a/link", "file"), node("a/null", "c", 1, 3))
    data = tar(hardlink("x", "a/file"), hardlink("y", "a/link"), hardlink("z", "a/null"), file("a/new", b"new"))
    with sealed(tmp_path / "below", below) as lower, sealed(tmp_path / "sealed", data, [str(lower)]) as root:
        assert (root / "x").read_bytes() == b"below" * 300
        assert (root / "a/file").stat().st_ino == (root / "x").stat().st_ino
        assert (stat.S_IMODE((root / "a").stat().st_mode), (root / "a").stat().st_uid) == (0o700, 5)
        assert difference(str(plain(tmp_path / "plain", data, [str(lower)])), str(root)) is None


def test_the_directory_has_the_roots_owner_and_mode(tmp_path: Path) -> None:
    with sealed(tmp_path / "layer", tar(directory("./", 0o1770, uid=4, gid=5))):
        erofs.dress(str(tmp_path / "layer"))
    found = (tmp_path / "layer/fs").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o1770, 4, 5)


@pytest.mark.parametrize("data", [
    tar(symlink("a", "b" * 4096)), tar(symlink("a", "a"), file("a/b")), tar(file("a"), file("a/b")),
    tar(hardlink("a", "missing")), tar(directory("d"), hardlink("a", "d")), tar(file("../a")),
    tar(node("a", "c", 5000, 0)), tar(file("a", uid=-1)), tar(file("a" * 256)),
    tar(file("a", xattrs={"user.a": b"x" * 70000})), tar(file("a", xattrs={"user." + "n" * 300: b"x"})),
    tar(directory("a", xattrs={"system.posix_acl_access": b"no acl"})), tar(file("a", b"data"))[:700],
], ids=str)
def test_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidParameter), sealed(tmp_path / "sealed", data):
        pass


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidLayer, match="more than 2 entries"), \
            sealed(tmp_path / "a", tar(file("a"), file("b"), file("c")), limit_entries=2):
        pass
    monkeypatch.setattr(unpacking, "MAX_IMPLIED", 3)
    deep = tar(file("a/b/c/d/e"))
    with pytest.raises(InvalidLayer, match="more than 3 directories"):
        plain(tmp_path / "plain", deep)
    with pytest.raises(InvalidLayer, match="more than 3 directories"), sealed(tmp_path / "b", deep):
        pass


PART = st.sampled_from(["a", "b", "c", ".", "..", "", ".wh.a", ".wh.b", ".wh..wh..opq"])
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)


@st.composite
def any_entry(draw: Any) -> Any:
    name, target = draw(PATH), draw(PATH | st.sampled_from(["/", "/a", "../..", "/../b"]))
    return draw(st.sampled_from([file(name, b"bytes"), directory(name), directory(name, 0o700), symlink(name, target),
                                 hardlink(name, target), node(name, "p"), node(name, "c", 1, 3)]))


def sealed_at(folder: Path, data: bytes, lowers: Sequence[str]) -> str:
    with sealed(folder, data, lowers):
        return str(folder)


@example([directory("b/a"), symlink("b", "b/a")])  # what was a directory without an entry is a link to itself now
@example([file("a//", b"bytes")])
@example([hardlink("b", "a"), file("a/b", b"bytes")])  # told of before its target, which is a directory
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(any_entry(), max_size=12))
def test_any_archive_is_taken_or_refused_alike(entries: list[Any]) -> None:
    data = tar(*entries)
    with tempfile.TemporaryDirectory() as top:
        lower = Path(top, "lower")
        (lower / "a").mkdir(parents=True)
        (lower / "a/b").write_text("below")
        (lower / "c").symlink_to("a")
        outcomes: list[Any] = []
        for unpack in (plain, sealed_at):
            try:
                outcomes.append(unpack(Path(top, unpack.__name__), data, [str(lower)]))
            except InvalidLayer:
                outcomes.append(None)
        wanted, found = outcomes
        assert (wanted is None) == (found is None)
        if wanted is not None:
            with erofs.opened([found]) as [root]:
                assert difference(str(wanted), root) is None
                assert attributes(wanted) == attributes(Path(root))
        remove_tree(f"{top}/plain")
