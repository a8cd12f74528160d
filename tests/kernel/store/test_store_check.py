"""What a power cut or a bad disk did is found, and mended where that is possible."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kist.store.check import check
from kist.store.images import Image
from kist.store.store import Store
from support.tars import directory, file, hardlink, node, put_image, symlink, tar

BASE = tar(directory("d", 0o755), file("d/a", b"aaaa"), file("d/b", b"b", mode=0o4755), symlink("l", "d/a"),
           node("n", "c", 1, 3))
TOP = tar(file("top", b"top"), directory("d", 0o755), file("d/.wh.b"))
NAME = "docker.io/library/app:v1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "data")) as store:
        yield store


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
