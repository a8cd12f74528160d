"""Layers become files: what they should become, and what a hostile one must not."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from kist.store.errors import InvalidLayer
from kist.store.extract import Extractor
from kist.store.tarformat import Entry
from kist.store.tarread import TarReader
from kist.store.unpacking import clean
from support.tars import END, directory, file, hardlink, node, pax, raw_header, symlink, tar


def extract(root: Path, data: bytes, lowers: Sequence[Path] = (), limit_entries: int | None = None) -> Extractor:
    root.mkdir(exist_ok=True)
    with Extractor(str(root), limit_entries=limit_entries) as extractor:
        extractor.unpack(TarReader(io.BytesIO(data)))
        extractor.finish([str(lower) for lower in lowers])
        return extractor


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a directory of the host beside it, which no layer may reach."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret").write_text("secret")
    return tmp_path / "root"


def untouched(root: Path) -> bool:
    host = root.parent / "host"
    return sorted(os.listdir(host)) == ["secret"] and (host / "secret").read_text() == "secret"


def is_whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


# -- what layers are made of ------------------------------------------------------------------------------


def test_every_kind_of_file(root: Path) -> None:
    acl = bytes.fromhex("0200000001000600ffffffff020004000700000004000400ffffffff10000400ffffffff20000000ffffffff")
    found = extract(root, tar(
        directory("./", 0o711, mtime=5 * 10**9), directory("d", 0o1777, uid=7, gid=8, mtime=10**18),
        file("d/file", b"data", mode=0o4755, uid=1, gid=2, mtime=123456789 * 10**9,
             xattrs={"user.x": b"1", "security.capability": bytes.fromhex("0100000200040000000000000000000000000000")}),
        file("d/acl", mode=0o640, xattrs={"system.posix_acl_access": acl}),
        symlink("d/link", "/etc/passwd"), hardlink("d/hard", "/d/file"), node("d/null", "c", 1, 3, 0o666),
        node("d/disk", "b", 8, 0), node("d/fifo", "p", mode=0o622), file("d/empty", b"", mode=0)))
    first = (root / "d/file").stat()
    assert stat.S_IMODE(root.stat().st_mode) == 0o711
    assert root.stat().st_mtime == 5
    assert (stat.S_IMODE((root / "d").stat().st_mode), (root / "d").stat().st_uid) == (0o1777, 7)
    assert (root / "d").stat().st_mtime_ns == 10**18
    assert (root / "d/file").read_bytes() == b"data"
    assert (stat.S_IMODE(first.st_mode), first.st_uid, first.st_gid) == (0o4755, 1, 2)
    assert (first.st_mtime, first.st_nlink) == (123456789, 2)
    assert os.getxattr(root / "d/file", "user.x") == b"1"
    assert os.getxattr(root / "d/file", "security.capability")
    assert os.getxattr(root / "d/acl", "system.posix_acl_access") == acl
    assert os.readlink(root / "d/link") == "/etc/passwd"
    null = (root / "d/null").stat()
    assert (stat.S_ISCHR(null.st_mode), null.st_rdev, stat.S_IMODE(null.st_mode)) == (True, os.makedev(1, 3), 0o666)
    assert stat.S_ISBLK((root / "d/disk").stat().st_mode)
    assert stat.S_ISFIFO((root / "d/fifo").stat().st_mode)
    assert stat.S_IMODE((root / "d/empty").stat().st_mode) == 0
    assert (found.size, found.entries) == (4 + len("/etc/passwd"), 10)  # a link counts with its target, as in du


def test_like_gnu_tar(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(40):
        (source / f"d{number % 7}" / "deep" / f"{number}").mkdir(parents=True)
        path = source / f"d{number % 7}" / "deep" / f"{number}" / ("n" * (number + 60))
        path.write_bytes(os.urandom(number * 4000))
        path.chmod(0o600 + number)
        os.utime(path, (number, 10**8 + number))
    archive = subprocess.run(["tar", "-C", source, "--format=gnu", "-c", "."], stdout=subprocess.PIPE,
                             check=True).stdout
    extract(tmp_path / "ours", archive)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    subprocess.run(["tar", "-C", theirs, "-xp"], input=archive, check=True)
    what = "find . -printf '%p %m %U %G %y %T@ %l %n\n' | sort; find . -type f | sort | xargs cat | cksum"
    lists = [subprocess.run(what, shell=True, cwd=at, stdout=subprocess.PIPE, check=True).stdout
             for at in (tmp_path / "ours", theirs)]
    assert lists[0] == lists[1]


def test_missing_directories_are_made(root: Path) -> None:
    extract(root, tar(file("a/b/c", b"x")))
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o755
    assert (root / "a/b/c").read_bytes() == b"x"


def test_missing_directories_are_as_in_the_lower_layers(root: Path, tmp_path: Path) -> None:
    lower, lowest = tmp_path / "lower", tmp_path / "lowest"
    extract(lowest, tar(directory("./", 0o700), directory("tmp", 0o1777, uid=5, mtime=10**9), directory("gone", 0o700)))
    extract(lower, tar(file(".wh.gone")), [lowest])
    extract(root, tar(file("tmp/file"), file("gone/file")), [lower, lowest])
    found = (root / "tmp").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_mtime) == (0o1777, 5, 1)
    assert stat.S_IMODE((root / "gone").stat().st_mode) == 0o755
    assert stat.S_IMODE(root.stat().st_mode) == stat.S_IMODE(lower.stat().st_mode) == 0o700


def test_whiteouts_become_overlays(root: Path) -> None:
    extract(root, tar(file("d/.wh.gone"), directory("o"), file("o/.wh..wh..opq"), file("o/kept"),
                      file(".wh..wh.plnk/x"), file(".wh..wh.aufs"), file("d/.wh.here"), file("d/here", b"x"),
                      file("d/too", b"x"), file("d/.wh.too"), directory("d/dir"), file("d/.wh.dir"),
                      file("d/.wh.dir2"), directory("d/dir2")))
    assert is_whiteout(root / "d/gone")
    assert (root / "d/here").read_bytes() == (root / "d/too").read_bytes() == b"x"
    for name in ("o", "d/dir", "d/dir2"):
        assert os.getxattr(root / name, "trusted.overlay.opaque") == b"y"
    assert sorted(os.listdir(root)) == ["d", "o"]


def test_links_within_a_layer_follow_its_own_links(root: Path) -> None:
    extract(root, tar(directory("usr/lib"), symlink("lib", "usr/lib"), symlink("abs", "/usr"), file("lib/a", b"1"),
                      file("abs/lib/b", b"2"), symlink("early", "later/on"), file("early/c", b"3")))
    assert sorted(os.listdir(root / "usr/lib")) == ["a", "b"]
    assert (root / "later/on/c").read_bytes() == b"3"


def test_later_entries_win(root: Path) -> None:
    extract(root, tar(
        file("a", b"old"), file("a", b"new"), directory("b"), file("b/x"), file("b", b"file"), file("c"),
        directory("c", 0o700), symlink("d", "b"), directory("d"), file("d/x"), directory("e"), symlink("e", "d"),
        file("e/y"), directory("f", 0o700), directory("f", 0o711), hardlink("a", "a"), hardlink("g", "a"),
        hardlink("g", "a"), directory("h"), hardlink("h", "a"), file("i", b"1"), hardlink("j", "i"), file("i", b"2")))
    assert (root / "a").read_bytes() == (root / "g").read_bytes() == (root / "h").read_bytes() == b"new"
    assert (root / "b").read_bytes() == b"file"
    assert stat.S_IMODE((root / "c").lstat().st_mode) == 0o700
    assert sorted(os.listdir(root / "d")) == ["x", "y"]
    assert os.readlink(root / "e") == "d"
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o711
    assert ((root / "i").read_bytes(), (root / "j").read_bytes()) == (b"2", b"1")


def test_hard_links_to_lower_layers_copy_up(root: Path, tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    extract(lower, tar(file("d/file", b"data", mode=0o4711, uid=3, mtime=10**9, xattrs={"user.a": b"b"}),
                       symlink("soft", "x"), directory("dir"), file("hidden")))
    middle = tmp_path / "middle"
    extract(middle, tar(file(".wh.hidden")), [lower])
    extract(root, tar(hardlink("link", "d/file"), hardlink("again", "link"), hardlink("soft2", "soft")),
            [middle, lower])
    found = (root / "link").stat()
    assert (root / "again").stat().st_ino == (root / "d/file").stat().st_ino == found.st_ino
    assert (root / "link").read_bytes() == b"data"
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_mtime) == (0o4711, 3, 1)
    assert os.getxattr(root / "link", "user.a") == b"b"
    assert os.readlink(root / "soft2") == "x"
    for target in ("missing", "hidden", "dir", "../host/secret", "d/file/x"):
        with pytest.raises(InvalidLayer):
            extract(tmp_path / f"bad{len(target)}{target[0]}", tar(hardlink("x", target)), [middle, lower])


def test_odd_values_are_made_harmless(root: Path) -> None:
    extract(root, tar(file("old", mtime=-5 * 10**9), file("late", mtime=10**13 * 10**9)))
    assert (root / "old").stat().st_mtime == (root / "late").stat().st_mtime == 0


def test_many_directories_and_few_descriptors(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    names = [f"d{n % 300}/e{n % 7}/f{n}" for n in range(2100)]
    extract(root, tar(*(file(name, name.encode()) for name in names)))
    assert all((root / name).read_text() == name for name in names)
    assert len(os.listdir("/proc/self/fd")) == before


# -- hostile layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/../../host/x", "../host/x", "a/../../host/x", "..", "./../x", "a/./../.."])
def test_names_that_lead_out_are_refused(root: Path, name: str) -> None:
    with pytest.raises(InvalidLayer, match="outside of the layer"):
        extract(root, tar(file(name, b"evil")))
    assert untouched(root)


def test_absolute_names_are_inside(root: Path) -> None:
    extract(root, tar(file("/etc/passwd", b"x"), file("//b//./c", b"y"), file("a/../e", b"z")))
    assert (root / "etc/passwd").read_bytes() == b"x"
    assert (root / "b/c").read_bytes() == b"y"
    assert (root / "e").read_bytes() == b"z"


@pytest.mark.parametrize("target", ["/", "..", "../host", "../../../../../../../..", "/proc/self/root",
                                    "/proc/self/cwd", "/proc/self/fd/3"])
def test_links_that_lead_out_do_not(root: Path, target: str) -> None:
    target = target.replace("../host", f"../{root.parent.name}/host")
    data = tar(symlink("l", target), symlink("m", "l"), file("l/planted"), file("m/secret", b"evil"),
               directory("l/tmp/planted-directory"), symlink("l/soft", "x"), hardlink("hard", "l/secret"))
    try:
        extract(root, data)
    except InvalidLayer:
        pass
    assert untouched(root)
    assert not Path("/planted").exists()
    assert not Path("/tmp/planted-directory").exists()
    assert not (root / "hard").is_file() or (root / "hard").read_text() != "secret"


def test_absolute_links_to_the_host(root: Path) -> None:
    host = root.parent / "host"
    extract(root, tar(symlink("l", str(host)), file("l/planted", b"x"), file("l/secret", b"evil")))
    assert untouched(root)
    assert (root / str(host)[1:] / "planted").read_bytes() == b"x"
    with pytest.raises(InvalidLayer, match="does not exist"):
        extract(root.parent / "root2", tar(hardlink("h", str(host / "secret"))))


def test_a_directory_that_becomes_a_link_is_resolved_again(root: Path) -> None:
    """The classic: a directory is cached, replaced by a link that leads out, then written through."""
    for data in (
        tar(directory("d"), file("d/a"), symlink("d", "/../../host"), file("d/planted")),
        tar(directory("d/e"), file("d/e/a"), symlink("d", str(root.parent / "host")), file("d/e/planted"),
            file("d/planted")),
        tar(symlink("d", "x"), file("d/a"), symlink("d", str(root.parent / "host")), file("d/secret", b"evil")),
    ):
        try:
            extract(root, data)
        except InvalidLayer:
            pass
        assert untouched(root)
        subprocess.run(["rm", "-r", root], check=True)


def test_links_are_replaced_not_written_through(root: Path) -> None:
    secret = str(root.parent / "host/secret")
    extract(root, tar(symlink("a", secret), file("a", b"evil"), symlink("b", secret), node("b", "p"),
                      symlink("c", secret), hardlink("d", "c"), file("d", b"evil")))
    assert untouched(root)
    assert (root / "a").read_bytes() == b"evil"
    assert os.readlink(root / "c") == secret


def test_whiteouts_do_not_reach_out(root: Path) -> None:
    for name in ("../.wh.host", ".wh...", ".wh..", ".wh.", "a/.wh..."):
        with pytest.raises(InvalidLayer):
            extract(root, tar(file(name)))
    extract(root, tar(symlink("l", str(root.parent / "host")), file("l/.wh.secret"), file("l/.wh..wh..opq")))
    assert untouched(root)


def test_overlays_own_attributes_are_left_out(root: Path) -> None:
    evil = {"trusted.overlay.redirect": b"/../../host", "trusted.overlay.opaque": b"y", "trusted.overlay.metacopy": b"",
            "security.selinux": b"x", "user.ok": b"1"}
    extract(root, tar(directory("d", xattrs=evil), file("f", b"", xattrs=evil)))
    for name in ("d", "f"):
        assert [key for key in os.listxattr(root / name) if key != "security.selinux"] == ["user.ok"]


@pytest.mark.parametrize(("data", "words"), [
    (tar(*(file(f"f{n}") for n in range(11))), "more than 10 entries"),
    (tar(file("n" * 256)), "name too long"),
    (tar(file("/".join(["d" * 100] * 50))), "name too long"),
    (tar(file("f"), file("f/x")), "not a directory"),
    (tar(symlink("l", "l"), file("l/x")), "too many levels of symbolic links"),
    (tar(symlink("a", "b"), symlink("b", "a"), file("a/x")), "too many levels of symbolic links"),
    (tar(symlink("l", "")), "symbolic link to nothing"),
    (tar(hardlink("h", "")), "hard link to"),
    (tar(hardlink("h", "/")), "hard link to"),
    (tar(directory("d"), hardlink("h", "d")), "which is a directory"),
    (tar(file(".", b"")), "the root must be a directory"),
    (tar(symlink(".", "x")), "the root must be a directory"),
    (tar((Entry(b"u", uid=(1 << 32) - 1), b"")), "owner 4294967295:0"),
    (raw_header(b"u", uid=b"\xff" * 8) + END, "owner -1:0"),
    (tar(node("n", "c", 1 << 13, 0)), "device number"),
    (pax(b"path=" + b"x" * 5000) + raw_header(b"x") + END, "name too long"),
    (tar(symlink("l", "t" * 5000)), "l: file name too long"),
])
def test_layers_that_do_not_fit_together(root: Path, data: bytes, words: str) -> None:
    with pytest.raises(InvalidLayer, match=words) as caught:
        extract(root, data, limit_entries=10)
    assert str(caught.value).startswith("invalid layer: ")
    assert len(str(caught.value)) < 500
    assert untouched(root)


@pytest.mark.parametrize(("name", "cleaned"), [
    (b"a/b", b"a/b"), (b"./a/b/", b"a/b"), (b"/a", b"a"), (b"a//b", b"a/b"), (b"a/./b", b"a/b"), (b".", b""),
    (b"./", b""), (b"a//", b"a"), (b"a/.//", b"a"), (b"///", b""), (b".//a///", b"a"),
    (b"", b""), (b"/", b""), (b"a/.b/..c/", b"a/.b/..c"), (b"a/../b", b"b"), (b"..a", b"..a"), (b".hidden", b".hidden"),
])
def test_cleaned_names(name: bytes, cleaned: bytes) -> None:
    assert clean(name) == cleaned
