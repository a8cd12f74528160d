"""Writing layouts into a data folder, and what a kill in the middle leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kist.errors import InvalidParameter
from kist.hub.app import open_content, open_hub
from kist.hub.config import HubConfig
from kist.hub.content import Content
from kist.hub.errors import HubError
from kist.hub.publish import publish
from kist.oci.digest import Digest
from unit.hub.images import INDEX, Image, descriptor, index_of, sha256
from unit.hub.served import Client, serving

REF_NAME = "org.opencontainers.image.ref.name"


def layout(folder: Path, *images: Image, tag: str = "latest") -> Path:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    for image in images:
        for blob in (image.manifest, image.config, *image.layers):
            (blobs / sha256(blob)[7:]).write_bytes(blob)
    entries = [image.descriptor for image in images]
    entries[0]["annotations"] = {REF_NAME: tag}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return folder


def test_publish_then_serve(tmp_path: Path) -> None:
    image = Image()
    digest = publish(tmp_path / "data", "library/app", "latest", layout(tmp_path / "l", image), summary="An app",
                     description="# App")
    assert digest == image.digest
    with serving(open_hub(HubConfig(data=tmp_path / "data", access_log=""))) as client:
        assert client.get("/v2/library/app/manifests/latest").body == image.manifest
        assert client.get(f"/v2/library/app/blobs/{sha256(image.layers[0])}").body == image.layers[0]
        found = client.hub.metadata.repository("library/app")
        assert found is not None
        assert (found.summary, found.description) == ("An app", "# App")


def test_publish_into_a_running_hub(client: Client, tmp_path: Path) -> None:
    image = Image([b"from another process"])
    publish(client.hub.config.data, "app", "v1", layout(tmp_path / "l", image, tag="v1"))
    assert client.get("/v2/app/manifests/v1").body == image.manifest
    publish(client.hub.config.data, "app", "v1", tmp_path / "l")  # again: nothing changes
    assert client.get("/v2/app/tags/list").json["tags"] == ["v1"]


def test_publish_takes_referrers_along(tmp_path: Path) -> None:
    image = Image()
    bill = Image([b"sbom"], more={"subject": image.descriptor, "artifactType": "application/spdx+json"})
    publish(tmp_path / "data", "app", "latest", layout(tmp_path / "l", image, bill))
    content = open_content(tmp_path / "data")
    assert [found.digest for found in content.metadata.referrers("app", Digest(image.digest))] == [bill.digest]
    content.metadata.close()


def test_publish_an_index(tmp_path: Path) -> None:
    one, two = Image([b"1"]), Image([b"2"])
    folder = layout(tmp_path / "l", one, two)
    nested = index_of(one, two)
    (folder / "blobs" / "sha256" / sha256(nested)[7:]).write_bytes(nested)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor(nested, INDEX)]}))
    assert publish(tmp_path / "data", "app", "latest", folder) == sha256(nested)


@pytest.mark.parametrize(("name", "tag"), [("Bad", "x"), ("good", "-bad")])
def test_publish_refuses_bad_names(tmp_path: Path, name: str, tag: str) -> None:
    with pytest.raises((InvalidParameter, HubError)):
        publish(tmp_path / "data", name, tag, layout(tmp_path / "l", Image()))


def test_publish_refuses_a_layout_that_lies(tmp_path: Path) -> None:
    image = Image()
    folder = layout(tmp_path / "l", image)
    (folder / "blobs" / "sha256" / sha256(image.layers[0])[7:]).write_bytes(b"other")
    with pytest.raises(InvalidParameter):
        publish(tmp_path / "data", "app", "latest", folder)
    content = open_content(tmp_path / "data")
    assert content.metadata.repositories(10) == []
    content.metadata.close()


class Killed(BaseException):
    """Stands for SIGKILL: nothing behind it runs but what the process's end would also do."""


class DyingBlobs:
    """A storage that stops at its n-th call."""

    def __init__(self, content: Content, calls: int) -> None:
        self._real = content.blobs
        self._left = calls

    def __getattr__(self, name: str) -> object:
        self._left -= 1
        if self._left < 0:
            raise Killed
        return getattr(self._real, name)


@pytest.mark.parametrize("calls", range(8))
def test_a_kill_at_any_point_of_an_upload_leaves_nothing_half_visible(tmp_path: Path, calls: int) -> None:
    content = open_content(tmp_path)
    blob = b"bytes" * 1000
    digest = Digest(sha256(blob))
    content.blobs = DyingBlobs(content, calls)  # type: ignore[assignment]
    done = False
    try:
        upload = content.begin_upload("app")
        content.append(upload, 0, [blob])
        content.finish_upload("app", upload, digest)
        done = True
    except Killed:
        pass
    content.metadata.close()
    after = open_content(tmp_path)
    if after.metadata.linked_size("app", digest) is None:
        assert not done
        assert after.metadata.blob_size(digest) is None
    else:
        with after.open_blob("app", digest) as file:
            assert file.read() == blob
    upload = after.begin_upload("app")  # and it can be pushed again
    after.append(upload, 0, [blob])
    after.finish_upload("app", upload, digest)
    assert after.blob_size("app", digest) == len(blob)
    after.sweep_uploads(-1)
    assert list(after.blobs.uploads()) == []
    assert after.metadata.totals()["uploads"] == 0
    after.metadata.close()


def test_an_upload_goes_on_in_another_process(tmp_path: Path) -> None:
    first = open_content(tmp_path)
    upload = first.begin_upload("app")
    first.append(upload, 0, [b"abc"])
    first.metadata.close()
    second = open_content(tmp_path)
    assert second.upload_size("app", upload) == 3
    second.append(upload, 3, [b"def"])
    second.finish_upload("app", upload, Digest(sha256(b"abcdef")))
    assert second.blob_size("app", Digest(sha256(b"abcdef"))) == 6
    second.metadata.close()


