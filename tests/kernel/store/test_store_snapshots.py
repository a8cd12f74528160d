"""One suite for every snapshot driver: containers' file systems, what they changed, as tars."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kist.errors import Conflict, InvalidParameter
from kist.oci.digest import Digest
from kist.store import ingest
from kist.store.errors import NoSuchContent
from kist.store.snapshots import Mount
from kist.store.store import DRIVERS, Store
from support import needs
from support.tars import diff_id, directory, file, hardlink, node, put_image, symlink, tar

BASE = tar(directory("./", 0o751), directory("etc", mtime=10**18), file("etc/passwd", b"root\n"),
           file("etc/old", b"old"), directory("gone"), file("gone/file"),
           directory("opaque"), file("opaque/below"), symlink("link", "etc"),
           directory("same", mtime=10**18), file("same/file", b"1"), hardlink("hard", "etc/passwd"),
           node("null", "c", 1, 3))
TOP = tar(file("top", b"top"))


@pytest.fixture(params=DRIVERS)
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    with Store.open(str(tmp_path / "data"), needs.storage_driver(request.param)) as store:
        yield store


@pytest.fixture
def chain(store: Store) -> Digest:
    found: Digest = put_image(store, None, BASE, TOP).chain_id
    return found


@contextmanager
def mounted(mounts: list[Mount], at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    # Two snapshots of one image share its layers; in reality each mounts them in a namespace of its own.
    mounts = [mount for mount in mounts if not os.path.ismount(mount.get("destination", at))]
    for mount in mounts:
        options = ",".join(mount["options"])
        target = mount.get("destination", at)
        subprocess.run(["mount", "-i", "-t", mount["type"], mount["source"], target, "-o", options], check=True)
    try:
        yield at
    finally:
        for mount in reversed(mounts):
            subprocess.run(["umount", mount.get("destination", at)], check=True)


def change(root: Path) -> None:
    """What a container does to BASE."""
    (root / "etc/passwd").write_text("changed\n")
    (root / "etc/old").unlink()
    (root / "etc/new").write_bytes(b"n" * 5000)
    (root / "etc/new").chmod(0o4755)
    os.link(root / "etc/new", root / "etc/new2")
    os.setxattr(root / "etc/new", "user.x", b"y")
    subprocess.run(["rm", "-r", root / "gone", root / "opaque"], check=True)
    (root / "opaque").mkdir()
    (root / "opaque/above").touch()
    os.mkfifo(root / "fifo")
    os.symlink("nowhere", root / "soft")
    (root / "same/file").write_text("2")
    os.utime(root / "same", ns=(10**18, 10**18))
    os.utime(root / "etc", ns=(10**18, 10**18))


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive.getmembers()}


def test_a_snapshot_is_the_images_files_and_writable(store: Store, chain: Digest, tmp_path: Path) -> None:
    mounts = store.snapshots.prepare("c1", chain)
    assert store.snapshots.mounts("c1") == mounts
    with mounted(mounts, tmp_path / "m") as root:
        assert (root / "top").read_text() == "top"
        assert (root / "etc/passwd").read_text() == "root\n"
        assert stat.S_IMODE(root.stat().st_mode) == 0o751
        change(root)
    with mounted(store.snapshots.mounts("c1"), tmp_path / "m") as root:
        assert (root / "etc/passwd").read_text() == "changed\n"
        assert not (root / "gone").exists()
        assert os.listdir(root / "opaque") == ["above"]
    assert store.snapshots.chains() == {"c1": chain}
    assert store.snapshots.chain_id("c1") == chain


def test_nothing_is_shared_between_two_snapshots(store: Store, chain: Digest, tmp_path: Path) -> None:
    store.snapshots.prepare("a", chain)
    store.snapshots.prepare("b", chain)
    with mounted(store.snapshots.mounts("a"), tmp_path / "a") as a, \
            mounted(store.snapshots.mounts("b"), tmp_path / "b") as b:
        change(a)
        assert (b / "etc/passwd").read_text() == "root\n"
    with store.snapshots.view_image(chain) as fd:
        assert os.stat("etc/passwd", dir_fd=fd).st_size == 5


def test_an_image_without_layers(store: Store, tmp_path: Path) -> None:
    store.snapshots.prepare("empty", None)
    with mounted(store.snapshots.mounts("empty"), tmp_path / "m") as root:
        assert os.listdir(root) == []
        (root / "file").touch()
    assert [change.path for change in store.snapshots.diff("empty")] == ["/file"]
    assert store.snapshots.chain_id("empty") is None
    out = io.BytesIO()
    store.snapshots.export("empty", out)
    assert list(members(out.getvalue())) == ["file"]


def test_keys(store: Store, chain: Digest) -> None:
    store.snapshots.prepare("c1", chain)
    with pytest.raises(Conflict, match="already exists"):
        store.snapshots.prepare("c1", chain)
    for key in ("", ".", "..", "../x", "a/b", "a\0b", ".hidden", "x" * 200):
        with pytest.raises(InvalidParameter):
            store.snapshots.prepare(key, chain)
        assert not store.snapshots.remove(key)
        with pytest.raises(NoSuchContent):
            store.snapshots.mounts(key)
    with pytest.raises(NoSuchContent):
        store.snapshots.prepare("c2", diff_id(b"no such layer"))
    assert list(store.snapshots.chains()) == ["c1"]


def test_removing(store: Store, chain: Digest, tmp_path: Path) -> None:
    store.snapshots.prepare("c1", chain)
    with mounted(store.snapshots.mounts("c1"), tmp_path / "m") as root:
        change(root)
    assert store.snapshots.remove("c1")
    assert not store.snapshots.remove("c1")
    for ask in (store.snapshots.mounts, store.snapshots.usage, store.snapshots.diff, store.snapshots.chain_id):
        with pytest.raises(NoSuchContent, match="snapshot c1 not found"):
            ask("c1")
    store.wait_for_trash()
    assert store.snapshots.chains() == {}
    assert os.listdir(tmp_path / "data/trash") == []
    store.snapshots.prepare("c1", chain)


def test_a_volatile_snapshot_starts_again(store: Store, chain: Digest, tmp_path: Path) -> None:
    store.snapshots.prepare("v", chain, volatile=True)
    for number in range(2):
        mounts = store.snapshots.mounts("v")
        assert "volatile" in mounts[-1]["options"]
        with mounted(mounts, tmp_path / "m") as root:
            assert (root / "count").exists() == bool(number)
            (root / "count").touch()


def test_diff_and_usage(store: Store, chain: Digest, tmp_path: Path) -> None:
    store.snapshots.prepare("c1", chain)
    assert store.snapshots.diff("c1") == []
    assert store.snapshots.usage("c1") == (0, 0)
    with mounted(store.snapshots.mounts("c1"), tmp_path / "m") as root:
        change(root)
        running = store.snapshots.diff("c1")
    found = [tuple(change) for change in store.snapshots.diff("c1")]
    assert found == running == [
        ("C", "/etc"), ("A", "/etc/new"), ("A", "/etc/new2"), ("D", "/etc/old"), ("C", "/etc/passwd"), ("A", "/fifo"),
        ("D", "/gone"), ("C", "/opaque"), ("A", "/opaque/above"), ("C", "/same/file"), ("A", "/soft")]
    assert store.snapshots.usage("c1").size == 5000 + 8 + 1


def test_export_has_everything(store: Store, chain: Digest, tmp_path: Path) -> None:
    store.snapshots.prepare("c1", chain)
    with mounted(store.snapshots.mounts("c1"), tmp_path / "m") as root:
        change(root)
        while_running = io.BytesIO()
        store.snapshots.export("c1", while_running)
    out = io.BytesIO()
    store.snapshots.export("c1", out)
    found = members(out.getvalue())
    assert sorted(members(while_running.getvalue())) == sorted(found) == [
        "etc", "etc/new", "etc/new2", "etc/passwd", "fifo", "hard", "link", "null", "opaque", "opaque/above", "same",
        "same/file", "soft", "top"]
    assert found["etc/new"].mode == 0o4755
    assert (found["etc/new2"].type, found["etc/new2"].linkname) == (tarfile.LNKTYPE, "etc/new")
    assert found["link"].linkname == "etc"
    assert (found["null"].type, found["null"].devmajor, found["null"].devminor) == (tarfile.CHRTYPE, 1, 3)
    assert found["etc/new"].pax_headers["SCHILY.xattr.user.x"] == "y"


def test_a_committed_layer_makes_the_same_files(store: Store, chain: Digest, tmp_path: Path) -> None:
    store.snapshots.prepare("c1", chain)
    with mounted(store.snapshots.mounts("c1"), tmp_path / "m") as root:
        change(root)
        (root / ".wh.trick").touch()
    with store.lease(), store.layer_sink() as sink:
        store.snapshots.commit("c1", sink)
        blob, layer = sink.commit()
        new = ingest.unpack(store.content, store.layers, blob.digest, layer, chain)
    with store.content.open(blob.digest) as compressed:
        names = sorted(members(gzip.decompress(compressed.read())))
    assert names == [".wh.gone", "etc", "etc/.wh.old", "etc/new", "etc/new2", "etc/passwd", "fifo", "opaque",
                     "opaque/.wh..wh..opq", "opaque/above", "same", "same/file", "soft"]
    out, again = io.BytesIO(), io.BytesIO()
    store.snapshots.export("c1", out)
    store.snapshots.prepare("c2", new)
    store.snapshots.export("c2", again)
    first, second = members(out.getvalue()), members(again.getvalue())
    first.pop(".wh.trick")
    assert sorted(first) == sorted(second)
    for name, member in first.items():
        other = second[name]
        assert (member.mode, member.uid, member.size, member.type, member.linkname, int(member.mtime)) == \
            (other.mode, other.uid, other.size, other.type, other.linkname, int(other.mtime)), name


def test_a_hostile_container_can_not_lead_the_reader_out(store: Store, chain: Digest, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret of the host")
    store.snapshots.prepare("c1", chain)
    with mounted(store.snapshots.mounts("c1"), tmp_path / "m") as root:
        os.symlink(secret, root / "dir")
        os.symlink(secret / "file", root / "file")
        subprocess.run(["rm", "-r", root / "etc"], check=True)
        os.symlink("/etc", root / "etc")
        deep = root
        for _ in range(15):
            deep = deep / ("d" * 200)
            deep.mkdir()
    out, layer = io.BytesIO(), io.BytesIO()
    store.snapshots.export("c1", out)
    store.snapshots.commit("c1", layer)
    assert b"secret of the host" not in out.getvalue() + layer.getvalue()
    assert members(layer.getvalue())["etc"].issym()
    assert ("C", "/etc") in store.snapshots.diff("c1")


def test_too_many_layers_for_one_mount(store: Store) -> None:
    layers = [tar(file(f"f{n}")) for n in range(40)]
    chain = put_image(store, None, *layers).chain_id
    if len(str(store.path)) * 41 > 4000:
        with pytest.raises(InvalidParameter, match="max depth exceeded"):
            store.snapshots.prepare("c1", chain)
        assert store.snapshots.chains() == {}
    else:
        assert store.snapshots.prepare("c1", chain)
    with store.snapshots.view_image(chain) as root:
        assert len(os.listdir(f"/proc/self/fd/{root}")) == 40
