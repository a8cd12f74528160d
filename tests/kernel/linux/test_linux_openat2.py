"""`Root`: nothing leads out of the directory, whatever links lie in it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from kist.linux.openat2 import RESOLVE_BENEATH, Root, open_regular, openat2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("host")
    inside = tmp_path / "root"
    (inside / "etc").mkdir(parents=True)
    (inside / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    return inside


def test_reads_inside(root: Path) -> None:
    with Root.at(str(root)) as tree:
        assert tree.read("/etc/passwd").startswith(b"root:")
        assert tree.read("../../etc/passwd") == tree.read("etc/passwd")


def test_links_resolve_inside(root: Path) -> None:
    (root / "abs").symlink_to("/etc/passwd")
    (root / "up").symlink_to("../../../outside/secret")
    with Root.at(str(root)) as tree:
        assert tree.read("/abs").startswith(b"root:")
        with pytest.raises(FileNotFoundError):
            tree.read("/up")


def test_magic_links_are_refused(root: Path) -> None:
    (root / "proc").mkdir()
    os.system(f"mount -t proc proc {root}/proc")
    try:
        with Root.at(str(root)) as tree, pytest.raises(OSError) as caught:
            tree.resolve("/proc/self/root/etc")
        assert caught.value.errno == errno.ELOOP
    finally:
        os.system(f"umount {root}/proc")


def test_mkdirs_follows_dangling_links_inside(root: Path, tmp_path: Path) -> None:
    (root / "var").symlink_to("/data/var")
    (root / "out").symlink_to(str(tmp_path / "outside" / "new"))
    with Root.at(str(root)) as tree:
        os.close(tree.mkdirs("/var/lib/x"))
        os.close(tree.mkdirs("/out/y"))
    assert (root / "data/var/lib/x").is_dir()
    assert not (tmp_path / "outside" / "new").exists()
    assert (root / str(tmp_path / "outside" / "new" / "y").lstrip("/")).is_dir()


def test_mkdirs_loop(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with Root.at(str(root)) as tree, pytest.raises(OSError) as caught:
        tree.mkdirs("/a/c")
    assert caught.value.errno == errno.ELOOP


def test_create_file_does_not_write_through_links(root: Path, tmp_path: Path) -> None:
    (root / "evil").symlink_to(str(tmp_path / "outside"))
    with Root.at(str(root)) as tree:
        os.close(tree.create_file("/evil/made"))
        os.close(tree.create_file("/deep/er/file"))
    assert not (tmp_path / "outside" / "made").exists()
    assert (root / "deep/er/file").is_file()


def test_read_is_bounded_and_regular_only(root: Path) -> None:
    (root / "big").write_bytes(b"x" * 100)
    os.mkfifo(root / "fifo")
    with Root.at(str(root)) as tree:
        with pytest.raises(OSError) as caught:
            tree.read("/big", limit=99)
        assert caught.value.errno == errno.EFBIG
        with pytest.raises(OSError) as caught:
            tree.read("/fifo")
        assert caught.value.errno == errno.EINVAL


def test_symlink_and_stat(root: Path) -> None:
    with Root.at(str(root)) as tree:
        tree.symlink("passwd", "/etc/alias")
        assert tree.stat("/etc/alias").st_ino == tree.stat("/etc/passwd").st_ino
        assert tree.stat("/etc/alias", follow=False).st_ino != tree.stat("/etc/passwd").st_ino
        assert tree.exists("/etc/alias")
        assert not tree.exists("/etc/passwd/x")


def test_openat2_names_the_path(root: Path) -> None:
    fd = os.open(root, os.O_PATH)
    try:
        with pytest.raises(OSError) as caught:
            openat2(fd, "../outside", os.O_PATH, 0, RESOLVE_BENEATH)
        assert caught.value.errno == errno.EXDEV
        assert caught.value.filename == "../outside"
    finally:
        os.close(fd)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """Not even for a moment: to open a device may be to start it. The one here has no driver, so open(2) would fail."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "node", stat.S_IFCHR | 0o666, os.makedev(4095, 1))
    with Root.at(str(tmp_path)) as root:
        for name in ("/file", "/link"):
            fd = root.open_regular(name)
            assert os.read(fd, 100) == b"content"
            os.close(fd)
        os.close(open_regular("file", root.fd))
        for name in ("link", "folder", "pipe", "node"):
            with pytest.raises(OSError) as error:
                open_regular(name, root.fd)
            assert error.value.errno == errno.EINVAL, name
        for name in ("/folder", "/pipe", "/node"):
            for action in (root.open_regular, root.read):
                with pytest.raises(OSError) as error:
                    action(name)
                assert error.value.errno == errno.EINVAL, name
