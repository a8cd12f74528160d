"""Registries that lie and layers that attack: each is a clear error, and nothing of them stays."""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.liar import Image, Liar, tar_of


@pytest.fixture
def liar() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


def _info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info


def _refused(daemon: Daemon, name: str, *words: str, resumable: bool = False) -> None:
    before = _kept(daemon)
    done = daemon.kist("pull", "-q", name, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert any(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert name not in daemon.ok("images", "-a", "--format", "{{.Repository}}")
    assert resumable or _kept(daemon) <= before, "something of it stayed"


def _kept(daemon: Daemon) -> set[str]:
    """Published content: blobs, layers (partial downloads may wait for a second try)."""
    roots = [daemon.data / "content" / "sha256", daemon.data / "layers"]
    return {str(p) for root in roots if root.is_dir() for p in root.iterdir()}


HONEST = tar_of((_info("hello"), b"hello" * 1000))


@pytest.mark.parametrize(("lie", "words"), [
    ("wrong", ("verification failed", "digest")),
    ("truncated", ("unexpected EOF", "verification failed")),
    ("endless", ("larger than", "exceeds", "verification failed", "more than")),
])
def test_a_lying_registry_is_refused(daemon: Daemon, liar: Liar, lie: str, words: tuple[str, ...]) -> None:
    # What a broken connection left is verified, invisible, and gone on with at the next try.
    _refused(daemon, liar.offer(f"lie-{lie}", Image(HONEST), lie), *words, resumable=lie == "truncated")


def test_a_layer_whose_content_is_not_what_the_config_says(daemon: Daemon, liar: Liar) -> None:
    image = Image(HONEST, packed=gzip.compress(tar_of((_info("other"), b"x")), mtime=0))
    _refused(daemon, liar.offer("wrong-diff-id", image), "diff id", "verification failed", "diffID", "mismatch")


def test_a_layer_that_is_no_gzip(daemon: Daemon, liar: Liar) -> None:
    _refused(daemon, liar.offer("no-gzip", Image(HONEST, packed=b"not a gzip stream" * 9)), "gzip", "invalid")


@pytest.mark.parametrize(("name", "entries"), [
    ("absolute", [_info("/escape-abs")]),
    ("dotdot", [_info("../../../../escape-dotdot")]),
    ("symlink-out", [_info("link", tarfile.SYMTYPE, "/"), _info("link/escape-symlink")]),
    ("symlink-up", [_info("link", tarfile.SYMTYPE, "../../../../.."), _info("link/escape-up")]),
    ("hardlink-out", [_info("passwd", tarfile.LNKTYPE, "../../../../etc/passwd")]),
    ("hardlink-abs", [_info("passwd", tarfile.LNKTYPE, "/etc/passwd")]),
    ("through-hardlink", [_info("a", tarfile.SYMTYPE, "/etc"), _info("b", tarfile.LNKTYPE, "a/passwd")]),
])
def test_a_layer_never_writes_outside_its_own_tree(
        daemon: Daemon, liar: Liar, name: str, entries: list[tarfile.TarInfo]) -> None:
    """Refused or kept inside: both are right; a file of the host touched is not."""
    passwd = os.stat("/etc/passwd")
    image = liar.offer(f"evil-{name}", Image(tar_of(*entries)))
    daemon.kist("pull", "-q", image)
    outside = [p for p in ("/escape-abs", "/escape-dotdot", "/escape-symlink", "/escape-up") if Path(p).exists()]
    around = list(daemon.data.glob("escape-*")) + list((daemon.data / "layers").glob("escape-*"))
    assert not outside and not around
    assert os.stat("/etc/passwd").st_nlink == passwd.st_nlink, "the host's file was linked into a layer"
    daemon.kist("rmi", image)


def test_a_device_node_of_a_layer_gives_no_device(daemon: Daemon, liar: Liar) -> None:
    disk = _info("disk", tarfile.BLKTYPE, mode=0o666)
    disk.devmajor, disk.devminor = 254, 0
    name = liar.offer("device", Image(tar_of(disk)))
    pulled = daemon.kist("pull", "-q", name)
    if pulled.returncode == 0:
        cid = daemon.ok("create", name, "/nothing")
        daemon.ok("rm", cid)
        daemon.ok("rmi", name)


def test_ten_gigabytes_of_zeros(daemon: Daemon, liar: Liar) -> None:
    """10 MB on the wire that would become 10 GB on the disk: one compressed block of zeros, again and again."""
    head = _info("zeros")
    head.size = 10 << 30
    block = gzip.compress(bytes(1 << 24), mtime=0)
    members = [gzip.compress(head.tobuf(), mtime=0), *[block] * (head.size >> 24), gzip.compress(bytes(1024), mtime=0)]
    image = Image(b"", packed=b"".join(members))
    _refused(daemon, liar.offer("zeros", image), "is larger than")


def test_a_manifest_that_claims_a_huge_layer(daemon: Daemon, liar: Liar) -> None:
    image = Image(HONEST, claimed={"size": 1 << 60})
    _refused(daemon, liar.offer("huge-claim", image), "no space", "exceeds", "too large", "size", "larger")
