"""Digests, chain ids, platforms, manifests and image configurations."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.oci import chainid, digest, image, manifest, platform
from kist.oci.digest import Digest
from kist.oci.platform import Platform

SHA_A = Digest("sha256:" + "a" * 64)
SHA_B = Digest("sha256:" + "b" * 64)


def _descriptor(**more: Any) -> dict[str, Any]:
    return {"mediaType": manifest.OCI_LAYER_GZIP, "digest": SHA_A, "size": 10} | more


def _manifest(**more: Any) -> bytes:
    config = _descriptor(mediaType=manifest.OCI_CONFIG)
    return json.dumps({"schemaVersion": 2, "config": config, "layers": [_descriptor()]} | more).encode()


def _index(*platforms: str, **more: Any) -> bytes:
    entries = []
    for number, text in enumerate(platforms):
        os, architecture, *variant = text.split("/")
        where = {"os": os, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
        entries.append(_descriptor(mediaType=manifest.OCI_MANIFEST, digest=f"sha256:{number:064x}",
                                   platform=where))
    return json.dumps({"schemaVersion": 2, "manifests": entries} | more).encode()


def test_digest_of_bytes() -> None:
    assert digest.of(b"x") == "sha256:" + hashlib.sha256(b"x").hexdigest()
    assert digest.verify(b"x", digest.of(b"x", "sha512"))
    assert not digest.verify(b"y", digest.of(b"x"))
    assert digest.algorithm(SHA_A) == "sha256"
    assert digest.short(SHA_A) == "a" * 12


@pytest.mark.parametrize("text", ["", "sha256", "sha256:", "sha256:../../etc/passwd", "sha256:" + "g" * 64,
                                  "sha256:" + "a" * 63, "sha256:" + "A" * 64, "SHA256:" + "a" * 64,
                                  "md5:" + "a" * 32, "sha256:" + "a" * 64 + "\n", "sha256:" + "a" * 999])
def test_bad_digests(text: str) -> None:
    assert not digest.is_digest(text)


@given(st.text(max_size=100))
def test_no_text_makes_a_digest_with_a_slash(text: str) -> None:
    assert not digest.is_digest(text) or "/" not in text


def test_chain_ids() -> None:
    # image-spec 1.1, config.md#layer-chainid
    both = "sha256:" + hashlib.sha256(f"{SHA_A} {SHA_B}".encode()).hexdigest()
    assert chainid.chain_ids([SHA_A, SHA_B]) == [SHA_A, both]
    assert chainid.chain_id([]) is None


@pytest.mark.parametrize(("wanted", "have", "found"), [
    ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
    ("linux/arm64", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
    ("linux/arm64", ["linux/arm64/v8", "linux/arm/v7"], "linux/arm64/v8"),
    ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
    ("linux/amd64", ["linux/386"], "linux/386"),
    ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], "linux/arm/v5"),
    ("linux/x86_64", ["unknown/unknown", "linux/amd64"], "linux/amd64"),
])
def test_the_best_platform_is_chosen(wanted: str, have: list[str], found: str) -> None:
    index = manifest.parse(_index(*have))
    assert isinstance(index, manifest.Index)
    assert str(index.choose(platform.parse(wanted)).platform) == found


def test_no_platform_matches() -> None:
    index = manifest.parse(_index("linux/arm64", "linux/386"))
    assert isinstance(index, manifest.Index)
    with pytest.raises(manifest.NoMatchingPlatform) as caught:
        index.choose(Platform("s390x", "linux"))
    assert str(caught.value) == "no matching manifest for linux/s390x in the manifest list entries"
    with pytest.raises(manifest.NoMatchingPlatform):
        index.choose(Platform("amd64", "linux"), strict=True)


@pytest.mark.parametrize(("text", "found"), [
    ("linux/amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("linux", "linux/amd64"),
    ("linux/aarch64/v8", "linux/arm64"), ("linux/armhf", "linux/arm/v7"), ("Linux/ARM/7", "linux/arm/v7"),
])
def test_platform_names(text: str, found: str) -> None:
    assert str(platform.parse(text)) == found


@pytest.mark.parametrize("text", ["", "/", "a/b/c/d", "linux/amd 64", "linux//v8"])
def test_bad_platform_names(text: str) -> None:
    with pytest.raises(Exception, match="cannot parse platform specifier"):
        platform.parse(text)


def test_this_machine() -> None:
    assert str(platform.from_uname("Linux", "aarch64")) == "linux/arm64"


def test_manifest_with_and_without_media_type() -> None:
    for outer in (None, manifest.OCI_MANIFEST, "application/json; charset=utf-8"):
        found = manifest.parse(_manifest(), outer)
        assert isinstance(found, manifest.Manifest)
        assert found.media_type == manifest.OCI_MANIFEST
        assert found.is_image
        assert [blob.size for blob in found.blobs] == [10, 10]
    docker = manifest.parse(_manifest(mediaType=manifest.DOCKER_MANIFEST), manifest.DOCKER_MANIFEST)
    assert docker.media_type == manifest.DOCKER_MANIFEST


def test_annotations_and_artifacts_survive() -> None:
    found = manifest.parse(_manifest(artifactType="x/y", annotations={"a": "b"}, subject=_descriptor()))
    assert (found.artifact_type, found.annotations) == ("x/y", {"a": "b"})
    assert manifest.parse(manifest.encode(found)) == found


@pytest.mark.parametrize(("data", "outer", "words"), [
    (b"", None, "invalid manifest"),
    (b"[]", None, "invalid manifest"),
    (b"[" * 100_000, None, "invalid manifest"),
    (b'{"schemaVersion":2,"config":' + b'{"a":' * 100_000, None, "invalid manifest"),
    (b'{"schemaVersion": 1, "fsLayers": []}', None, "schema 1 is not supported"),
    (_manifest(), manifest.SCHEMA1_SIGNED, "schema 1 is not supported"),
    (_manifest(manifests=[]), None, "both an index and a manifest"),
    (_manifest(), manifest.OCI_INDEX, "not a"),
    (_manifest(mediaType=manifest.OCI_MANIFEST), manifest.DOCKER_MANIFEST, "was announced as"),
    (_manifest(mediaType="application/x"), None, "unsupported manifest media type"),
    (_manifest(schemaVersion=3), None, "schemaVersion 3"),
    (_manifest(layers=[_descriptor(digest="sha256:../x")]), None, "invalid checksum digest format"),
    (_manifest(layers=[_descriptor(size=-1)]), None, "size -1"),
    (_manifest(layers=[_descriptor(size=1 << 50)]), None, "size"),
    (_manifest(layers=[_descriptor(size="1")]), None, "invalid manifest"),
    (_manifest(layers=[_descriptor()] * 502), None, "more than"),
    (b" " * (manifest.MAX_MANIFEST + 1), None, "larger than"),
    (b'{"schemaVersion": 2, "config": "\xff"}', None, "invalid manifest"),
])
def test_bad_manifests(data: bytes, outer: str | None, words: str) -> None:
    with pytest.raises(manifest.InvalidManifest) as caught:
        manifest.parse(data, outer)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda inner:
       st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
           ["schemaVersion", "config", "layers", "manifests", "size", "digest", "mediaType"]), inner)))
def test_any_document_is_parsed_or_refused(document: Any) -> None:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    for parse in (manifest.parse, image.parse):
        try:
            parse(data)
        except (manifest.InvalidManifest, image.InvalidImage):
            pass


def test_image_config() -> None:
    config = image.parse(json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["A=b"], "Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}, "OnBuild": None,
                   "Healthcheck": {"Test": ["CMD", "x"], "StartPeriod": 5}, "Unknown": 1},
        "rootfs": {"type": "layers", "diff_ids": [SHA_A, SHA_B]},
        "history": [{"created_by": "x", "empty_layer": True}],
    }).encode())
    assert config.run.env == ["A=b"]
    assert config.run.healthcheck is not None
    assert config.run.healthcheck.start_period == 5
    assert config.chain_id == chainid.chain_id([SHA_A, SHA_B])
    assert str(config.platform) == "linux/amd64"


def test_image_config_as_old_tools_wrote_it() -> None:
    config = image.parse(b'{"config": {"Entrypoint": "/x", "Cmd": null}, "rootfs": null, "history": null}')
    assert config.run.entrypoint == ["/x"]
    assert config.chain_id is None
    assert image.parse(b'{"config": null}').run.cmd is None


@pytest.mark.parametrize("data", [
    b"{", b'{"rootfs": {"type": "zfs"}}', b'{"rootfs": {"diff_ids": ["sha256:.."]}}', b'{"config": {"Env": 1}}',
    b'{"rootfs": {"diff_ids": [' + b",".join([f'"{SHA_A}"'.encode()] * 501) + b"]}}",
])
def test_bad_image_configs(data: bytes) -> None:
    with pytest.raises(image.InvalidImage):
        image.parse(data)
