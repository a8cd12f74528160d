"""What a power cut or a bad disk did is found, and mended where that is possible."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from kist.store.check import check
from kist.store.images import Image
from kist.store.store import Store
from support import needs
from support.tars import directory, file, hardlink, node, put_image, symlink, tar

BASE = tar(directory("d", 0o755), file("d/a", b"aaaa"), file("d/b", b"b", mode=0o4755), symlink("l", "d/a"),
           node("n", "c", 1, 3))
TOP = tar(file("top", b"top"), directory("d", 0o755), file("d/.wh.b"))
NAME = "docker.io/library/app:v1"


@pytest.fixture
def image(store: Store) -> Image:
    found: Image = put_image(store, NAME, BASE, TOP)
    return found


def base(store: Store) -> Path:
    return next(Path(layer.path) for layer in store.layers.list() if layer.parent is None)


def test_a_whole_store_has_no_findings(store: Store, image: Image) -> None:
    store.snapshots.prepare("c1", image.chain_id)
    seen: list[str] = []
    assert check(store, report=seen.append) == []
    assert len(seen) == len(store.content.list()) + 1 + 2 + 1
    store.wait_for_trash()
    assert os.listdir(f"{store.path}/staging") == []


@pytest.mark.parametrize(("damage", "words"), [
    (lambda root: (root / "d/a").write_bytes(b"aaab"), "/d/a: other bytes"),
    (lambda root: (root / "d/a").write_bytes(b"a"), "/d/a: another size"),
    (lambda root: (root / "d/a").unlink(), "/d/a is missing"),
    (lambda root: (root / "d/new").touch(), "/d/new doesn't belong there"),
    (lambda root: (root / "d/b").chmod(0o755), "/d/b: another mode"),
    (lambda root: os.chown(root / "d", 1, 0), "/d: another owner"),
    (lambda root: [(root / "l").unlink(), (root / "l").symlink_to("x")], "/l: another target"),
    (lambda root: os.setxattr(root / "d/a", "user.x", b"1"), "/d/a: other extended attributes"),
    (lambda root: shutil.rmtree(root / "d"), "/d is missing"),
    (lambda root: root.rename(root.parent / "elsewhere"), "its files are gone"),
])
def test_damaged_layers_are_made_again(store: Store, image: Image, damage: Callable[[Path], object],
                                       words: str) -> None:
    damage(base(store))
    (found,) = check(store)
    assert found.what.startswith("layer sha256:")
    assert found.problem.startswith(words)
    assert not found.repaired
    store.snapshots.prepare("running", image.chain_id)
    assert not check(store, repair=True, busy=frozenset({"running"}))[0].repaired
    assert check(store, repair=True)[0].repaired
    assert check(store) == []
    assert (base(store) / "d/a").read_bytes() == b"aaaa"


def test_a_layer_that_links_to_a_lower_one_is_compared_with_it(store: Store) -> None:
    put_image(store, NAME, BASE, tar(hardlink("hard", "d/a")))
    assert check(store) == []


def test_damaged_content_goes_with_its_image(store: Store, image: Image) -> None:
    blob = store.images.manifest(image.id).layers[0].digest
    path = Path(store.content.path(blob))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert [(found.what, found.repaired) for found in check(store)] == [(f"content {blob}", False)]
    assert [(found.what, found.repaired) for found in check(store, repair=True)] == [
        (f"content {blob}", True), ("image app:v1", True)]
    assert store.images.list() == []
    put_image(store, NAME, BASE, TOP)
    assert check(store) == []


def test_an_image_in_use_is_only_reported(store: Store, image: Image) -> None:
    store.snapshots.prepare("c1", image.chain_id)
    store.content.delete(store.images.manifest(image.id).layers[0].digest)
    assert [found.repaired for found in check(store, repair=True)] == [False]
    assert store.images.resolve("app:v1").id == image.id


def test_a_layer_that_can_not_be_made_again(store: Store, image: Image) -> None:
    store.snapshots.prepare("c1", image.chain_id)
    store.content.delete(store.images.manifest(image.id).layers[0].digest)
    base(store).rename(base(store).parent / "elsewhere")
    assert [found.problem for found in check(store) if found.what.startswith("layer")] == [
        "its files are gone, and so is the content to make them from"]


# Each fault alone: it is named, mended, and what was mended is whole.


def record(store: Store, *statements: str) -> None:
    """As only a bad disk can: without regard for what refers to what."""
    with closing(sqlite3.connect(f"{store.path}/store.db")) as db, db:
        for statement in statements:
            db.execute(statement)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def blob(store: Store, image: Image) -> Path:
    return Path(store.content.path(store.images.manifest(image.id).layers[0].digest))


def manifest(store: Store, image: Image) -> Path:
    return Path(store.content.path(image.manifest))


def config(store: Store, image: Image) -> Path:
    return Path(store.content.path(image.id))


Fault = Callable[[Store, Image], object]
#: (the fault, what of it is said first, whether the image is there afterwards)
FAULTS: dict[str, tuple[Fault, str, bool]] = {
    "layer's blob flipped": (lambda s, i: flip(blob(s, i)), "the bytes are damaged", False),
    "layer's blob truncated": (lambda s, i: truncate(blob(s, i)), "the bytes are damaged", False),
    "layer's blob empty": (lambda s, i: os.truncate(blob(s, i), 0), "the bytes are damaged", False),
    "layer's blob missing": (lambda s, i: blob(s, i).unlink(), "content sha256:", False),
    "manifest flipped": (lambda s, i: flip(manifest(s, i)), "the bytes are damaged", False),
    "manifest truncated": (lambda s, i: truncate(manifest(s, i)), "the bytes are damaged", False),
    "manifest missing": (lambda s, i: manifest(s, i).unlink(), "content sha256:", False),
    "configuration flipped": (lambda s, i: flip(config(s, i)), "the bytes are damaged", False),
    "configuration truncated": (lambda s, i: truncate(config(s, i)), "the bytes are damaged", False),
    "configuration missing": (lambda s, i: config(s, i).unlink(), "content sha256:", False),
    "name of no image": (lambda s, i: record(s, "INSERT INTO refs VALUES ('docker.io/library/lost:v1', 'sha256:0')"),
                         "its image is gone", True),
    "image's record missing": (lambda s, i: record(s, "DELETE FROM images"), "its image is gone", False),
    "upper layer's record missing": (lambda s, i: record(s, "DELETE FROM layers WHERE parent IS NOT NULL"),
                                     "layer sha256:", True),
    "lower layer's record missing": (lambda s, i: record(s, "DELETE FROM layers WHERE parent IS NULL"),
                                     "layer sha256:", True),
    "all layers' records missing": (lambda s, i: record(s, "DELETE FROM layers"), "layer sha256:", True),
    "layer on a missing one, of no image": (
        lambda s, i: record(s, "DELETE FROM images", "DELETE FROM refs", "DELETE FROM layers WHERE parent IS NULL"),
        "the layer sha256:", False),
    "a file that is no content": (lambda s, i: Path(s.path, "content/sha256/tmp123").touch(),
                                  "doesn't belong there", True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_and_mended(store: Store, image: Image, fault: str) -> None:
    make, words, kept = FAULTS[fault]
    make(store, image)
    found = check(store)
    assert found and not any(one.repaired for one in found)
    assert found[0].problem.startswith(words)
    assert check(store) == found  # looking changes nothing
    assert all(one.repaired for one in check(store, repair=True))
    assert check(store) == []
    assert [one.tags for one in store.images.list()] == ([["app:v1"]] if kept else [])
    store.gc(0)
    put_image(store, NAME, BASE, TOP)  # what another pull does
    assert check(store) == []
    store.snapshots.prepare("c1", store.images.resolve("app:v1").chain_id)
    with store.snapshots.view("c1") as root:
        assert os.path.exists(f"/proc/self/fd/{root}/top")
        assert os.path.exists(f"/proc/self/fd/{root}/d/a")


@pytest.mark.parametrize("damage", [flip, truncate, lambda path: os.truncate(path, 0), lambda path: path.unlink(),
                                    lambda path: shutil.rmtree(path.parent)],
                         ids=["flipped", "truncated", "empty", "missing", "directory missing"])
def test_a_damaged_erofs_file_is_made_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    needs.storage_driver("erofs")
    with Store.open(str(tmp_path / "data"), "erofs") as store:
        put_image(store, NAME, tar(directory("d", 0o755), file("d/a", b"a" * 20000)), TOP)
        damage(base(store).parent / "layer.erofs")
        (found,) = check(store)
        assert found.what.startswith("layer sha256:") and not found.repaired
        assert [one.repaired for one in check(store, repair=True)] == [True]
        assert check(store) == []
        store.snapshots.prepare("c1", store.images.resolve("app:v1").chain_id)
        with store.snapshots.view("c1") as root:
            assert Path(f"/proc/self/fd/{root}/d/a").read_bytes() == b"a" * 20000


def test_a_container_on_a_lost_layer_is_told_of(store: Store, image: Image) -> None:
    store.snapshots.prepare("c1", image.chain_id)
    record(store, "DELETE FROM images", "DELETE FROM refs", "DELETE FROM layers WHERE parent IS NULL")
    found = check(store, repair=True, busy=frozenset({"c1"}))
    assert {(one.what.partition(" ")[0], one.repaired) for one in found} == {("layer", False), ("snapshot", False)}
    put_image(store, NAME, BASE, TOP)  # another pull brings the layer back
    assert check(store) == []


def test_what_a_killed_server_left_half_made_goes_at_the_next_start(store: Store, image: Image) -> None:
    root = Path(store.path)
    store.close()
    left = [root / name for name in ("staging/ab/fs", "staging/ab/work", "trash/old", "layers/99/fs")]
    for path in left:
        path.mkdir(parents=True)
        (path / "f").touch()
    (root / "content/partial/spool-00").touch()
    with Store.open(store.path) as again:
        again.wait_for_trash()
        assert [path for path in left if path.exists()] == []
        assert os.listdir(root / "content/partial") == os.listdir(root / "staging") == os.listdir(root / "trash") == []
        assert check(again) == []
