"""Copy-up into new volumes: everything of the image's directory, nothing from outside of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from kist.engine.volumes.copyup import copy_up
from kist.linux.openat2 import Root


@pytest.fixture
def image(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "data" / "deep").mkdir(parents=True)
    return root


def copied(image: Path, path: str, target: Path) -> None:
    target.mkdir()
    with Root.at(str(image)) as root:
        copy_up(root, path, str(target))


def test_all_kinds_of_files_keep_what_they_are(image: Path, tmp_path: Path) -> None:
    data = image / "data"
    (data / "file").write_bytes(b"x" * 100_000)
    (data / "file").chmod(0o4751)
    os.chown(data / "file", 5, 6)
    os.chmod(data / "file", 0o4751)
    os.link(data / "file", data / "deep" / "same")
    (data / "link").symlink_to("/etc/passwd")
    os.mkfifo(data / "pipe", 0o640)
    os.mknod(data / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(data / "file", "user.note", b"kept")
    os.utime(data / "file", ns=(1, 2_000_000_000))
    os.chown(data, 7, 8)
    data.chmod(0o1770)
    target = tmp_path / "volume"
    copied(image, "/data", target)
    file, same = (target / "file").stat(), (target / "deep" / "same").stat()
    assert (target / "file").read_bytes() == b"x" * 100_000
    assert (file.st_uid, file.st_gid, stat.S_IMODE(file.st_mode), file.st_mtime_ns) == (5, 6, 0o4751, 2_000_000_000)
    assert file.st_ino == same.st_ino
    assert os.getxattr(target / "file", "user.note") == b"kept"
    assert os.readlink(target / "link") == "/etc/passwd"
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    assert (target / "null").stat().st_rdev == os.makedev(1, 3)
    whole = target.stat()
    assert (whole.st_uid, whole.st_gid, stat.S_IMODE(whole.st_mode)) == (7, 8, 0o1770)


def test_a_directory_that_is_a_link_out_leads_nowhere(image: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (image / "evil").symlink_to(outside)
    (image / "up").symlink_to("../../outside")
    for path in ("/evil", "/up", "/../outside"):
        target = tmp_path / f"volume{path.replace('/', '_')}"
        copied(image, path, target)
        assert list(target.iterdir()) == []


def test_what_the_image_lacks_or_has_as_a_file_is_an_empty_volume(image: Path, tmp_path: Path) -> None:
    (image / "plain").write_text("x")
    for path in ("/none", "/plain"):
        target = tmp_path / f"v{path[1:]}"
        copied(image, path, target)
        assert list(target.iterdir()) == []
