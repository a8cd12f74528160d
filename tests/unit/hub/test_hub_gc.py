"""Garbage collection beside pushes, and after kills."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kist.hub import gc
from kist.hub.app import open_content
from kist.hub.blobs import MemoryBlobs
from kist.hub.content import RENEW_AFTER, Content
from kist.hub.memory_metadata import MemoryMetadata
from kist.oci.digest import Digest
from kist.oci.manifest import OCI_INDEX
from unit.hub.images import MANIFEST, Image, sha256


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["disk", "memory"])
def content(tmp_path: Path, clock: Clock, request: pytest.FixtureRequest) -> Iterator[Content]:
    content = (open_content(tmp_path) if request.param == "disk"
               else Content(MemoryBlobs(), MemoryMetadata()))
    content.metadata.clock = clock
    yield content
    content.metadata.close()


def put_blob(content: Content, name: str, data: bytes) -> None:
    upload = content.begin_upload(name)
    content.append(upload, 0, [data])
    content.finish_upload(name, upload, Digest(sha256(data)))


def put_image(content: Content, name: str, image: Image, tag: str) -> None:
    for data in (image.config, *image.layers):
        put_blob(content, name, data)
    content.put_manifest(name, tag, image.manifest, MANIFEST)


def has(content: Content, data: bytes) -> bool:
    return content.blobs.size(Digest(sha256(data))) is not None


def test_what_is_named_stays(content: Content, clock: Clock) -> None:
    image = Image()
    put_image(content, "app", image, "v1")
    clock.now += 10 * gc.GRACE
    assert gc.collect(content) == gc.Swept()
    assert has(content, image.layers[0])


def test_what_nothing_names_goes_after_the_grace(content: Content, clock: Clock) -> None:
    image, other = Image([b"only here", b"shared"]), Image([b"shared"])
    put_image(content, "app", image, "v1")
    put_image(content, "app", other, "v2")
    content.delete_manifest("app", image.digest)
    assert gc.collect(content) == gc.Swept()
    clock.now += gc.GRACE + RENEW_AFTER + 1
    swept = gc.collect(content)
    assert (swept.links, swept.blobs, swept.bytes) == (1, 1, len(b"only here"))
    assert not has(content, b"only here")
    assert has(content, b"shared")
    assert content.metadata.totals()["blobs"] == 2


def test_another_repository_keeps_it(content: Content, clock: Clock) -> None:
    image = Image()
    put_image(content, "one", image, "v1")
    put_image(content, "two", image, "v1")
    content.delete_manifest("one", image.digest)
    clock.now += gc.GRACE + RENEW_AFTER + 1
    assert gc.collect(content).blobs == 0
    assert content.metadata.linked_size("one", Digest(sha256(image.layers[0]))) is None
    assert content.metadata.linked_size("two", Digest(sha256(image.layers[0]))) is not None


@pytest.mark.parametrize("relies", ["head", "mount", "upload"])
def test_a_push_in_progress_is_not_eaten(content: Content, clock: Clock, relies: str) -> None:
    image = Image()
    for data in (image.config, *image.layers):
        put_blob(content, "app", data)
    clock.now += gc.GRACE - 10
    name = "app"
    for data in (image.config, *image.layers):
        digest = Digest(sha256(data))
        if relies == "head":
            content.blob_size("app", digest, for_push=True)
        elif relies == "mount":
            name = "other"
            assert content.mount(name, digest, "app")
        else:
            put_blob(content, "app", data)
    clock.now += gc.GRACE - 10
    gc.collect(content)
    content.put_manifest(name, "v1", image.manifest, MANIFEST)
    clock.now += 10 * gc.GRACE
    gc.collect(content)
    assert has(content, image.layers[0])


@pytest.mark.parametrize("grace", [60.0, gc.GRACE])
def test_nor_is_one_that_relies_on_what_was_pushed_a_little_before(
    content: Content, clock: Clock, grace: float
) -> None:
    image = Image()
    for data in (image.config, *image.layers):
        put_blob(content, "app", data)
    clock.now += RENEW_AFTER - 1  # too young a lease to be renewed on disk
    for data in (image.config, *image.layers):
        content.blob_size("app", Digest(sha256(data)), for_push=True)
    clock.now += grace - 1
    assert gc.collect(content, grace=grace).blobs == 0
    content.put_manifest("app", "v1", image.manifest, MANIFEST)


def test_untagged_manifests_only_if_asked_for(content: Content, clock: Clock) -> None:
    old, new = Image([b"old"]), Image([b"new"])
    put_image(content, "app", old, "v1")
    put_image(content, "app", new, "v1")
    signature = Image([b"signature"], more={"subject": new.descriptor})
    put_image(content, "app", signature, signature.digest)
    clock.now += gc.GRACE + RENEW_AFTER + 1
    assert gc.collect(content).manifests == 0
    swept = gc.collect(content, untagged=True)
    assert (swept.manifests, swept.blobs) == (1, 1)
    assert not has(content, b"old")
    assert has(content, b"signature")  # its subject is there
    content.delete_manifest("app", new.digest)
    assert gc.collect(content, untagged=True).manifests == 1


@pytest.mark.parametrize("relies", ["asks", "brings"])
def test_an_index_finds_the_image_that_its_push_has_asked_for(content: Content, clock: Clock, relies: str) -> None:
    """The image has been here, untagged, for long: the push leaves it out, and brings the index last."""
    image = Image()
    put_image(content, "app", image, image.digest)
    clock.now += 10 * gc.GRACE
    if relies == "asks":
        content.rely_on_manifest("app", Digest(image.digest))
    else:
        put_image(content, "app", image, image.digest)
    clock.now += gc.GRACE - 10
    assert gc.collect(content, untagged=True).manifests == 0
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [image.descriptor]}
    content.put_manifest("app", "v1", json.dumps(index).encode(), OCI_INDEX)
    clock.now += 10 * gc.GRACE
    assert gc.collect(content, untagged=True).manifests == 0


def test_a_blob_comes_back_between_the_two_steps(content: Content, clock: Clock) -> None:
    put_blob(content, "app", b"data")
    content.delete_blob("app", Digest(sha256(b"data")))
    content.metadata.doom()
    assert content.metadata.blob_size(Digest(sha256(b"data"))) is None
    put_blob(content, "app", b"data")
    gc._remove_doomed(content, gc.Swept())
    assert content.blob_size("app", Digest(sha256(b"data"))) == 4
    assert has(content, b"data")


def test_a_kill_in_the_middle_is_finished_by_the_next_run(content: Content, clock: Clock) -> None:
    put_blob(content, "app", b"data")
    content.delete_blob("app", Digest(sha256(b"data")))
    content.metadata.doom()
    content.blobs.delete(Digest(sha256(b"data")))  # killed before the row went
    put_blob(content, "app", b"data")  # a push finds nothing, and brings it
    assert has(content, b"data")
    content.metadata.doom()
    assert gc.collect(content).blobs == 0


def test_files_without_a_row_go(content: Content, clock: Clock) -> None:
    digest = Digest(sha256(b"stray"))
    content.blobs.begin("0" * 32)
    content.blobs.append("0" * 32, 0, [b"stray"])
    content.blobs.publish("0" * 32, digest)
    stored = content.blobs.stored_at(digest)
    assert stored is not None
    clock.now = stored
    assert gc.collect(content).blobs == 0
    clock.now += gc.GRACE + 10
    assert gc.collect(content).blobs == 1
    assert not has(content, b"stray")
