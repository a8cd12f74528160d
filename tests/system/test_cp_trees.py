"""`cp` of trees with everything in them, both ways; huge folders; archives by pipes, packed ones and hostile ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import needs
from support.daemon import KIST, Daemon

BY = pytest.mark.parametrize("by", ["kist", needs.DOCKER_28])
Listing = dict[str, tuple[Any, ...]]


@pytest.fixture
def box(daemon: Daemon) -> Iterator[Daemon]:
    """`up` runs, with a volume and a tmpfs; `down` doesn't, with the same volume."""
    daemon.ok("run", "-d", "--name", "up", "-v", "trees:/vol", "--tmpfs", "/ram:size=100m", "busybox", "sleep", "1000")
    daemon.ok("create", "--name", "down", "-v", "trees:/vol", "busybox", "true")
    yield daemon
    daemon.clean()
    daemon.ok("volume", "rm", "trees")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "one").write_text("one\n")
    os.chown(top / "one", 1234, 2345)
    (top / "one").chmod(0o4751)
    os.link(top / "one", top / "deep" / "two")
    (top / ".hidden").write_text("hidden\n")
    os.link(top / ".hidden", top / "zlink")
    (top / "link").symlink_to("/etc/passwd")
    os.chown(top / "link", 5, 6, follow_symlinks=False)
    os.mkfifo(top / "pipe")
    os.mknod(top / "null", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    (top / ("n" * 255)).write_text("long\n")
    (top / "ümläut \n\udcff").write_text("odd\n")
    (top / ".wh.name").write_text("no whiteout\n")
    with (top / "holes").open("wb") as file:
        file.truncate(32 << 20)
        file.seek(16 << 20)
        file.write(b"middle")
    os.chown(top / "deep", 7, 8)
    (top / "deep").chmod(0o1770)
    os.utime(top / "deep" / "er", (1_580_000_000, 1_580_000_000))
    below = top
    for _ in range(12):
        below /= "d" * 100
    below.mkdir(parents=True)
    (below / "bottom").write_text("deep\n")
    return top


def listing(top: Path, *, attributes: bool = True) -> Listing:
    """path → all that cp keeps."""
    found: Listing = {}
    for path in sorted(top.rglob("*")):
        info = path.lstat()
        kind = stat.S_IFMT(info.st_mode)
        content = (os.readlink(path) if kind == stat.S_IFLNK else
                   hashlib.sha256(path.read_bytes()).hexdigest() if kind == stat.S_IFREG else "")
        links = info.st_nlink if kind == stat.S_IFREG else 0
        xattrs = {name: os.getxattr(path, name, follow_symlinks=False)
                  for name in os.listxattr(path, follow_symlinks=False)} if attributes else {}
        found[str(path.relative_to(top))] = (stat.filemode(info.st_mode), info.st_uid, info.st_gid, links, info.st_rdev,
                                             int(info.st_mtime), content, xattrs)
    return found


def inside(server: Daemon, path: str) -> Path:
    """A path of the running container's, seen from here."""
    return Path(f"/proc/{server.ok('inspect', '-f', '{{.State.Pid}}', 'up')}/root{path}")


@BY
@pytest.mark.parametrize("place", ["/", "/vol", "/ram"])
def test_a_tree_in_a_running_container_is_what_it_was(box: Daemon, tree: Path, tmp_path: Path, place: str,
                                                      by: str) -> None:
    """Docker's own command leaves attributes out, and makes all its own on the way out: only ours is asked there."""
    if by == "kist":
        os.setxattr(tree / "one", "user.note", b"\0\xffkept")
        os.setxattr(tree / "deep", "user.dir", b"too")
    target = f"{place.rstrip('/')}/in"
    assert getattr(box, by)("cp", "-a", str(tree), f"up:{target}").returncode == 0
    assert listing(inside(box, target)) == listing(tree)
    holes = (inside(box, target) / "holes").stat().st_blocks * 512
    assert by == "docker" or holes < 8 << 20
    if by == "kist":
        box.ok("cp", "-a", f"up:{target}", str(tmp_path / "back"))
        assert listing(tmp_path / "back") == listing(tree)
        assert (tmp_path / "back" / "holes").stat().st_blocks * 512 < 8 << 20


def test_a_stopped_one_and_without_the_owners(box: Daemon, tree: Path, tmp_path: Path) -> None:
    for place in ("", "/vol"):
        box.ok("cp", "-a", str(tree), f"down:{place}/in")
        box.ok("cp", "-a", f"down:{place}/in", str(tmp_path / f"back{place}"))
        assert listing(tmp_path / f"back{place}") == listing(tree)
    assert listing(inside(box, "/vol/in")) == listing(tree)
    box.ok("cp", "down:/in", str(tmp_path / "mine"))
    mine = listing(tmp_path / "mine")
    assert "null" not in mine and {row[1:3] for row in mine.values()} == {(0, 0)}
    assert mine["one"][0] == "-rwxr-x--x" and mine["deep"][0] == "drwxrwx--T"  # no set-id bits of a stranger's
    assert {name: row[3:] for name, row in mine.items()} == {
        name: row[3:] for name, row in listing(tree).items() if name != "null"}


def test_a_huge_folder(box: Daemon, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(5000):
        (tmp_path / "many" / str(number)).touch()
    box.ok("cp", str(tmp_path / "many"), "up:/vol")
    box.ok("cp", "up:/vol/many", str(tmp_path / "back"))
    assert sorted(os.listdir(tmp_path / "back")) == sorted(map(str, range(5000)))


def piped(server: Daemon, by: str, data: bytes, target: str) -> subprocess.CompletedProcess[bytes]:
    command = str(KIST) if by == "kist" else "docker"
    return subprocess.run([command, "cp", "-", target], input=data, capture_output=True, env=server.env, check=False,
                          timeout=60)


@BY
def test_packed_archives(box: Daemon, tmp_path: Path, by: str) -> None:
    (tmp_path / "a").write_text("in\n")
    for option in ("-z", "-j", "-J", "--zstd", "--format=gnu"):
        done = subprocess.run(["tar", "-c", option, "-C", tmp_path, "a"], capture_output=True, check=False)
        if done.returncode == 0:  # bzip2, xz and zstd may not be there
            assert piped(box, by, done.stdout, "up:/vol").returncode == 0, option
            assert box.ok("exec", "up", "sh", "-c", "cat /vol/a; rm /vol/a") == "in"


def archive(*entries: tuple[str, bytes, Any]) -> bytes:
    """(name, type, content, link's target or device)"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, what in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = what
            elif kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
                info.devmajor, info.devminor = what
            elif kind == tarfile.REGTYPE:
                info.size = len(what)
            tar.addfile(info, io.BytesIO(what) if kind == tarfile.REGTYPE else None)
    return out.getvalue()


FILE, HARD, LINK, FOLDER = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE
HOSTILE = {
    "up": (archive(("../up", FILE, b"x")), '"../up" is outside of "/vol"'),
    "through": (archive(("a/../../up", FILE, b"x")), '"a/../../up" is outside of "/vol"'),
    "hard": (archive(("h", HARD, "../etc/passwd")), '"../etc/passwd" is outside of "/vol"'),
    "hard to a link out": (archive(("l", LINK, "/etc"), ("h", HARD, "l/passwd")), "cross-device link"),
    "absolute hard": (archive(("h", HARD, "/etc/passwd")), "which does not exist"),
    "below a file": (archive(("f", FILE, b"x"), ("f/x", FILE, b"x")), "not a directory"),
    "long": (archive(("n" * 256, FILE, b"x")), "name too long"),
    "cut off": (archive(("big", FILE, bytes(9999)))[:5000], "unexpected EOF"),
    "none": (b"x" * 2000, "archive/tar: invalid tar header"),
    "type": (archive(("x", b"Z", None)), "unhandled tar header type"),
    "packed, cut off": (gzip.compress(bytes(1 << 20))[:900], "unexpected EOF"),
    "packed, broken": (b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 999, "invalid gzip stream"),
}


@pytest.mark.parametrize("name", ["up", "down"])
def test_hostile_archives(box: Daemon, name: str) -> None:
    """What can't be is refused; what can be stays in the container, wherever its names and links lead."""
    for case, (data, words) in HOSTILE.items():
        done = piped(box, "kist", data, f"{name}:/vol")
        assert done.returncode == 1 and words in done.stderr.decode(), (case, done.stderr)
        assert b"layer" not in done.stderr
    fine = archive(("/absolute", FILE, b"1"), ("a/../b", FILE, b"2"), ("out", LINK, "/etc"), ("out/evil", FILE, b"3"),
                   ("far", LINK, "../../../../../etc"), ("far/evil2", FILE, b"4"), ("sda", tarfile.BLKTYPE, (8, 0)),
                   ("twice", FILE, b"5"), ("twice", FILE, b"6"), ("d", FOLDER, None), ("d/x", FILE, b"7"))
    assert piped(box, "kist", fine, f"{name}:/vol").returncode == 0
    assert not os.path.exists("/etc/evil") and not os.path.exists("/etc/evil2")
    found = box.ok("exec", "up", "sh", "-c", "cd /vol; cat absolute b twice d/x; ls -A; cat sda 2>&1 | head -c 99")
    assert found.startswith("1267") and "not permitted" in found
    box.ok("cp", f"{name}:/etc/evil", "-")
    box.ok("cp", f"{name}:/etc/evil2", "-")
    over = piped(box, "kist", archive(("d", FILE, b"x")), f"{name}:/vol")
    assert over.returncode == 1 and b'cannot overwrite directory "/vol/d" with non-directory' in over.stderr
