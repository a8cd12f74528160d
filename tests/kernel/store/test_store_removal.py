"""What is removed while somebody stands on it or works with it goes as soon as they are through, not a day later."""

from __future__ import annotations

import io

import pytest

from kist.oci import reference
from kist.oci.platform import Platform
from kist.store import archive
from kist.store.images import Image, ManifestTarget
from kist.store.store import Store
from support.tars import directory, file, put_image, tar

BASE = tar(directory("etc"), file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"))
TOP = tar(file("etc/new", b"n" * 1000))
NAME = str(reference.parse("app:v1"))
HERE = Platform("amd64", "linux")


@pytest.fixture
def image(store: Store) -> Image:
    found: Image = put_image(store, NAME, BASE, TOP)
    return found


def left(store: Store) -> tuple[int, int]:
    """The numbers of contents and layers."""
    return len(store.content.list()), len(store.layers.list())


def test_what_a_lease_spared_goes_at_its_end(store: Store, image: Image) -> None:
    with store.lease():
        with store.lease():
            store.images.contents(image)
            for digest in store.content.list():
                store.content.has(digest)   # somebody looks, perhaps to build on it
            store.layers.stack(image.chain_id)
            for layer in store.layers.list():
                store.layers.has(layer.chain_id)
            store.images.delete(image.id)
            assert left(store) == (4, 2)
        assert left(store) == (4, 2)
    assert left(store) == (0, 0)


def test_what_was_built_on_it_meanwhile_keeps_it(store: Store, image: Image) -> None:
    with store.lease():
        for digest in store.content.list():
            store.content.has(digest)
        for layer in store.layers.list():
            store.layers.has(layer.chain_id)
        store.images.delete(image.id)
        put_image(store, None, BASE)
    assert left(store) == (3, 1)


def test_the_last_container_takes_the_layers_of_a_removed_image_along(store: Store, image: Image) -> None:
    for key in ("one", "two"):
        store.snapshots.prepare(key, image.chain_id)
    put_image(store, None, BASE)
    store.images.delete(image.id)
    store.drop_snapshots(["one"])
    assert left(store) == (3, 2)
    store.drop_snapshots(["two", "never-there"])
    assert left(store) == (3, 1)  # the other image's


def test_a_container_of_an_image_that_stays_takes_nothing_along(store: Store, image: Image) -> None:
    store.snapshots.prepare("one", image.chain_id)
    store.drop_snapshots(["one"])
    assert left(store) == (4, 2)


def test_an_image_that_was_just_named_is_not_deleted_for_having_no_name(store: Store, image: Image) -> None:
    assert not store.images.delete_nameless(image.id)
    store.images.untag(NAME)
    assert store.images.delete_nameless(image.id)
    assert store.images.delete_nameless(image.id)  # another was faster
    assert left(store) == (0, 0)


def test_an_image_can_be_removed_while_it_is_saved(store: Store, image: Image) -> None:
    class Sink:
        data = b""

        def write(self, data: bytes | memoryview, /) -> object:
            if store.images.has(image.id):
                store.images.delete(image.id)
            self.data += data
            return None

    sink = Sink()
    archive.save(store, [(image, [NAME])], sink)
    assert left(store) == (0, 0)
    [loaded] = archive.load(store, io.BytesIO(sink.data), platform=HERE)
    assert (loaded.image.id, loaded.names, loaded.image.tags) == (image.id, [NAME], ["app:v1"])


def test_loading_again_keeps_where_it_came_from(store: Store, image: Image) -> None:
    target = ManifestTarget(image.manifest)
    store.images.put(NAME, target, source="https://mirror.example")
    store.images.put(NAME, target)
    assert store.images.get(image.id).source == "https://mirror.example"
