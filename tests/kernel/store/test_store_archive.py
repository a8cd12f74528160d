"""Images in one file: what we write others read, what others write we read, what is wrong is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kist.oci import manifest as manifests
from kist.oci.digest import of
from kist.oci.platform import Platform
from kist.store import archive, compress
from kist.store.errors import DigestMismatch, InvalidArchive, InvalidLayer
from kist.store.images import Image
from kist.store.store import Store
from support.tars import config_of, diff_id, file, hardlink, put_image, symlink, tar

BASE = tar(file("etc/passwd", b"root\n"), file("big", os.urandom(50_000)))
TOP = tar(file("top", b"top"))
NAME = "docker.io/library/app:v1"
AMD64 = Platform("amd64", "linux")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "other")) as store:
        yield store


def saved(store: Store, *images: tuple[Image, list[str]]) -> bytes:
    out = io.BytesIO()
    archive.save(store, images, out)
    return out.getvalue()


def load(store: Store, data: bytes, **more: Any) -> list[archive.Loaded]:
    return archive.load(store, io.BytesIO(data), platform=AMD64, **more)


def docker_archive(*entries: Any, **manifest: Any) -> bytes:
    """As Docker wrote them before version 25."""
    config = config_of([BASE, TOP])
    item = {"Config": "config.json", "RepoTags": ["app:v1", "localhost:5000/x:y"],
            "Layers": ["1/layer.tar", "2/layer.tar"]}
    return tar(*entries, file("config.json", config), file("1/layer.tar", BASE), file("2/layer.tar", TOP),
               file("repositories", b"{}"), file("manifest.json", json.dumps([item | manifest]).encode()))


def test_a_saved_image_is_loaded_again_with_its_digests(store: Store, other: Store) -> None:
    image = put_image(store, NAME, BASE, TOP, Cmd=["sh"])
    store.images.tag("localhost:5000/team/app:v2", image.id)
    data = saved(store, (image, [NAME, "localhost:5000/team/app:v2"]))
    assert data == saved(store, (image, [NAME, "localhost:5000/team/app:v2"]))
    events: list[str] = []
    for form in (data, gzip.compress(data, mtime=0), data):
        (loaded,) = load(other, form, report=events.append)
        assert loaded.names == [NAME, "localhost:5000/team/app:v2"]
        assert (loaded.image.id, loaded.image.manifest) == (image.id, image.manifest)
        assert loaded.image.names == [NAME, "localhost:5000/team/app:v2"]
    assert len(events) == 12
    with other.snapshots.view_image(image.chain_id) as root:
        assert os.stat("big", dir_fd=root).st_size == 50_000


def test_several_images_and_images_without_a_name(store: Store, other: Store) -> None:
    one, two = put_image(store, NAME, BASE), put_image(store, None, BASE, TOP)
    loaded = load(other, saved(store, (one, [NAME]), (two, [])))
    assert [(found.image.id, found.names) for found in loaded] == [(one.id, [NAME]), (two.id, [])]
    other.gc(0)
    assert len(other.images.list()) == 2
    assert all(other.content.has(digest) for image in other.images.list() for digest in other.images.contents(image))


def test_older_docker_archives(store: Store) -> None:
    (loaded,) = load(store, docker_archive())
    assert loaded.names == [NAME, "localhost:5000/x:y"]
    assert loaded.image.id == of(config_of([BASE, TOP]))
    assert len(store.layers.stack(loaded.image.chain_id)) == 2


def test_docker_archives_with_links_and_compressed_layers(store: Store) -> None:
    (loaded,) = load(store, docker_archive(
        symlink("a/layer.tar", "../1/layer.tar"), hardlink("b.tar", "./2/layer.tar"), Layers=["a/layer.tar", "b.tar"]))
    assert loaded.image.size == 50_008
    listed = json.dumps([{"Config": "c.json", "RepoTags": None, "Layers": ["layer.tar"]}]).encode()
    inner = file("layer.tar", gzip.compress(TOP, mtime=0))
    zipped = tar(file("c.json", config_of([TOP])), inner, file("manifest.json", listed))
    (loaded,) = load(store, zipped)
    assert store.images.manifest(loaded.image.id).layers[0].media_type == manifests.OCI_LAYER_GZIP


def test_of_several_platforms_the_right_one_is_taken(store: Store, other: Store) -> None:
    image = put_image(store, None, BASE)
    manifest = store.content.read(image.manifest, 1 << 20)
    entries = [manifests.Descriptor(media_type=manifests.OCI_MANIFEST, digest=of(b"elsewhere"), size=9,
                                    platform=Platform("arm64", "linux")),
               manifests.descriptor(manifest, manifests.OCI_MANIFEST, platform=AMD64)]
    index = manifests.encode(manifests.Index(schema_version=2, manifests=entries))
    top = manifests.encode(manifests.Index(schema_version=2, manifests=[manifests.descriptor(
        index, manifests.OCI_INDEX, annotations={"org.opencontainers.image.ref.name": "quay.io/team/app:v9"})]))
    blobs = [manifest, index, *(store.content.read(blob.digest, 1 << 20)
                                for blob in store.images.manifest(image.id).blobs)]
    data = tar(file("oci-layout", b"{}"), file("index.json", top),
               *(file(f"blobs/sha256/{of(blob)[7:]}", blob) for blob in blobs))
    (loaded,) = load(other, data)
    assert (loaded.image.id, loaded.image.target, loaded.names) == (image.id, of(index), ["quay.io/team/app:v9"])
    with pytest.raises(manifests.NoMatchingPlatform):
        archive.load(other, io.BytesIO(data), platform=Platform("s390x", "linux"))


@pytest.mark.parametrize(("data", "error", "words"), [
    (b"", InvalidArchive, "names an image"),
    (b"x" * 2000, InvalidArchive, "invalid tar header"),
    (gzip.compress(b"x" * 2000, mtime=0), InvalidArchive, "invalid tar header"),
    (gzip.compress(docker_archive(), mtime=0)[:-50], compress.CompressionError, "unexpected EOF"),
    (tar(file("x")), InvalidArchive, "names an image"),
    (docker_archive()[:-3000], InvalidArchive, "unexpected EOF|names an image"),
    (docker_archive(Layers=["1/layer.tar", "3/layer.tar"]), InvalidArchive, "'3/layer.tar' is missing"),
    (docker_archive(Layers=["../../etc/passwd", "/etc/passwd"]), InvalidArchive, "is missing"),
    (docker_archive(symlink("l.tar", "/etc/passwd"), Layers=["l.tar", "1/layer.tar"]), InvalidArchive, "is missing"),
    (docker_archive(symlink("l.tar", "l.tar"), Layers=["l.tar", "1/layer.tar"]), InvalidArchive, "is missing"),
    (docker_archive(Config="nosuch.json"), InvalidArchive, "is missing"),
    (docker_archive(Layers=["2/layer.tar", "1/layer.tar"]), DigestMismatch, "verification failed"),
    (docker_archive(RepoTags=["Bad Name"]), Exception, "invalid reference format"),
    (docker_archive(Layers=5), InvalidArchive, "manifest.json"),
    (tar(file("manifest.json", b"[" * 10_000)), InvalidArchive, "manifest.json"),
    (tar(file(f"blobs/sha256/{'a' * 64}", b"x")), DigestMismatch, "digest is"),
    (tar(file("index.json", b"{")), Exception, "invalid manifest"),
    (tar(file("c.json", config_of([tar(file("../x"))])), file("l.tar", tar(file("../x"))),
         file("manifest.json", b'[{"Config": "c.json", "Layers": ["l.tar"]}]')), InvalidLayer, "outside of the layer"),
])
def test_wrong_archives_leave_nothing(store: Store, data: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load(store, data)
    assert store.images.list() == []
    assert [digest for digest in store.content.list() if store.content.size(digest) > 10_000] == []
    store.gc(0)
    store.wait_for_trash()
    assert (store.layers.list(), store.content.list()) == ([], [])
    assert os.listdir(f"{store.path}/content/partial") == []


def test_archives_are_bounded(store: Store) -> None:
    bomb = gzip.compress(tar(file("big.tar", bytes(5_000_000))))
    with pytest.raises(InvalidLayer, match="archive is larger than 1000000 bytes"):
        load(store, bomb, limit_bytes=1_000_000)
    with pytest.raises(InvalidArchive, match="small files"):
        load(store, tar(*(file(f"{n}.json", bytes(8_000_000)) for n in range(9))))


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_skopeo_reads_what_we_save_and_we_read_what_skopeo_writes(
        store: Store, other: Store, tmp_path: Path, kind: str) -> None:
    image = put_image(store, NAME, BASE, TOP, Cmd=["sh"])
    (tmp_path / "ours.tar").write_bytes(saved(store, (image, [NAME])))
    source = f"{kind}:{tmp_path}/ours.tar"
    target = f"{kind}:{tmp_path}/theirs.tar" + (":docker.io/library/app:v1" if kind == "docker-archive" else ":app:v1")
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", source, target], check=True, env=environment)
    shown = subprocess.run(["skopeo", "inspect", "--config", source], check=True, stdout=subprocess.PIPE,
                           env=environment)
    assert json.loads(shown.stdout)["rootfs"]["diff_ids"] == [diff_id(BASE), diff_id(TOP)]
    (loaded,) = load(other, (tmp_path / "theirs.tar").read_bytes())
    assert loaded.names == ([NAME] if kind == "docker-archive" else ["docker.io/library/app:v1"])
    assert loaded.image.chain_id == image.chain_id
    assert other.images.config(loaded.image.id).run.cmd == ["sh"]
