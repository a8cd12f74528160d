"""`kist cp` beside `docker cp`, on the same container: the same trees, the same refusals."""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from support.daemon import Daemon

MAKE = """mkdir -p /src/sub/deep /dst/dir; echo one > /src/one; chmod 640 /src/one; echo two > /src/sub/two
ln -s one /src/link; ln -s /etc/passwd /src/absolute; ln /src/one /src/hard; echo old > /dst/one; chmod 700 /src/sub
ln -s /dst /to-dst; ln -s /src /to-src; touch "/src/with space"; sleep 1000"""


@pytest.fixture
def box(daemon: Daemon) -> Daemon:
    for name in ("kist", "docker"):
        daemon.ok("run", "-d", "--name", f"box-{name}", "busybox", "sh", "-c", MAKE)
        assert daemon.kist("exec", f"box-{name}", "sh", "-c",
                           "for i in $(seq 50); do test -e '/src/with space' && exit 0; sleep 0.1; done; exit 1"
                           ).returncode == 0
    return daemon


def tree(folder: Path) -> dict[str, tuple[str, str]]:
    """path → (mode, content or link's target)"""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = os.readlink(path) if stat.S_ISLNK(mode) else path.read_text() if stat.S_ISREG(mode) else ""
        found[str(path.relative_to(folder))] = (stat.filemode(mode), content)
    return found


def prepared(folder: Path) -> Path:
    (folder / "dir").mkdir(parents=True)
    (folder / "file").write_text("before")
    (folder / "src" / "inner").mkdir(parents=True)
    (folder / "src" / "a").write_text("A")
    (folder / "src" / "inner" / "b").write_text("B")
    (folder / "src" / "link").symlink_to("a")
    (folder / "to-src").symlink_to("src")
    return folder


OUT = [
    ("/src/one", "dir"), ("/src/one", "new"), ("/src/one", "file"), ("/src/one", "dir/"), ("/src/one", "none/"),
    ("/src/one", "none/x"), ("/src", "dir"), ("/src", "new"), ("/src/", "new"), ("/src/.", "dir"), ("/src/.", "new"),
    ("/src", "file"), ("/src/link", "new"), ("/src/link", "dir"), ("/nope", "new"), ("/src/absolute", "new"),
    ("/to-src", "new"), ("/to-src/", "new"), ("/src/with space", "dir"), ("src/one", "new"), ("/", "new/none"),
    ("/src/hard", "."),
]
INTO = [
    ("file", "/dst"), ("file", "/dst/new"), ("file", "/dst/one"), ("file", "/dst/"), ("file", "/none/"),
    ("file", "/none/x"), ("src", "/dst"), ("src", "/dst/new"), ("src/.", "/dst"), ("src/.", "/dst/new"),
    ("src/", "/dst"), ("src", "/dst/one"), ("src/link", "/dst"), ("to-src", "/dst"), ("to-src/", "/dst"),
    ("none", "/dst"),
    ("file", "/to-dst"), ("file", "/to-dst/x"), ("file", "dst"), ("src", "/to-dst"), (".", "/dst/new"),
]


@pytest.mark.parametrize("option", ["", "-L", "-a"])
def test_out_of_a_container(box: Daemon, tmp_path: Path, option: str) -> None:
    for number, (source, target) in enumerate(OUT):
        trees, said = [], []
        for name in ("docker", "kist"):
            folder = prepared(tmp_path / name / str(number))
            done = getattr(box, name)("cp", *option.split(), f"box-{name}:{source}", target, cwd=folder)
            said.append((done.returncode, done.stdout, bool(done.stderr)))
            trees.append(tree(folder))
        assert trees[1] == trees[0], (source, target)
        assert said[1] == said[0], (source, target)


@pytest.mark.parametrize("option", ["", "-L"])
def test_into_a_container(box: Daemon, tmp_path: Path, option: str) -> None:
    listing = ("cd /; for f in $(find dst none | sort); do stat -c '%n %A %u %N' $f; test -f $f && cat $f; done; "
               "rm -rf /dst /none; mkdir -p /dst/dir; echo old > /dst/one")
    for number, (source, target) in enumerate(INTO):
        trees, said = [], []
        for name in ("docker", "kist"):
            folder = prepared(tmp_path / name / str(number))
            done = getattr(box, name)("cp", *option.split(), source, f"box-{name}:{target}", cwd=folder)
            said.append((done.returncode, done.stdout, bool(done.stderr)))
            trees.append(box.kist("exec", f"box-{name}", "sh", "-c", listing).stdout)
        assert trees[1] == trees[0], (source, target)
        assert said[1] == said[0], (source, target)


def test_archives_by_pipes(box: Daemon) -> None:
    out = subprocess.run([*_kist(), "cp", "box-kist:/src", "-"], capture_output=True, env=box.env, check=True).stdout
    with tarfile.open(fileobj=BytesIO(out)) as archive:
        assert {"src", "src/one", "src/sub/two"} <= set(archive.getnames())
    done = subprocess.run([*_kist(), "cp", "-", "box-kist:/dst/dir"], input=out, capture_output=True, env=box.env,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert box.ok("exec", "box-kist", "cat", "/dst/dir/src/sub/two") == "two"


def test_a_large_file_both_ways(box: Daemon, tmp_path: Path) -> None:
    data = os.urandom(5 << 20)
    (tmp_path / "large").write_bytes(data)
    box.ok("cp", str(tmp_path / "large"), "box-kist:/dst")
    box.ok("cp", "box-kist:/dst/large", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data


def _kist() -> list[str]:
    from support.daemon import KIST

    return [str(KIST)]
