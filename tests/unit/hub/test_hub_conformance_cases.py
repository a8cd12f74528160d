"""What the specification's own conformance programme asks (opencontainers/distribution-spec, conformance/) by case.

It is written in Go, and neither it nor its Go is here: its cases, by their names, asked in our own words. What it asks
about manifests: `DATA`, each pushed, listed, looked at, pulled and deleted; about blobs: `WAYS`, each with both digest
algorithms. `sparse` manifests (whose layers or images are not there) are refused, which it has switched off by default.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kist.hub.app import open_hub
from kist.hub.blobs import MemoryBlobs
from kist.hub.config import HubConfig
from kist.hub.content import Content
from kist.hub.memory_metadata import MemoryMetadata
from unit.hub.images import CONFIG, INDEX, MANIFEST, OCI, descriptor, push_blob, put_manifest, sha256
from unit.hub.served import Answer, Client, serving
from unit.hub.test_hub_conformance import EMPTY_TYPE, start_upload, where, with_digest

REPO, REPO2 = "conformance/repo1", "conformance/repo2"
Way = Callable[[Client, bytes, str], Answer]


@pytest.fixture(params=["disk", "memory"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    content = Content(MemoryBlobs(), MemoryMetadata()) if request.param == "memory" else None
    with serving(open_hub(HubConfig(data=tmp_path, access_log=""), content)) as client:
        yield client


def digest_of(data: bytes, algorithm: str) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


# --- blobs: every way to push one -----------------------------------------------------------------------------------


def post_only(client: Client, blob: bytes, digest: str) -> Answer:
    return client("POST", f"/v2/{REPO}/blobs/uploads/?digest={digest}", blob, Content_Type="application/octet-stream")


def post_and_put(client: Client, blob: bytes, digest: str) -> Answer:
    return client("PUT", with_digest(start_upload(client, REPO), digest), blob)


def stream(client: Client, blob: bytes, digest: str) -> Answer:
    answer = client("PATCH", start_upload(client, REPO), blob, Content_Type="application/octet-stream")
    assert answer.status == 202
    return client("PUT", with_digest(where(client, answer), digest), Content_Length="0")


def chunked(client: Client, blob: bytes, digest: str, *, put_last: bool = False, wrong_order: bool = False,
            count: int = 3) -> Answer:
    path, size = start_upload(client, REPO), len(blob) // count + 1
    starts = range(0, len(blob), size)
    for start in starts:
        if wrong_order:
            path = _out_of_order(client, path, blob, start, size, digest if put_last else "")
        piece = blob[start:start + size]
        headers = {"Content_Range": f"{start}-{start + len(piece) - 1}", "Content_Length": str(len(piece))}
        if put_last and start == starts[-1]:
            return client("PUT", with_digest(path, digest), piece, **headers)
        answer = client("PATCH", path, piece, **headers)
        assert answer.status == 202
        path = where(client, answer)
    return client("PUT", with_digest(path, digest), Content_Length="0")


def _out_of_order(client: Client, path: str, blob: bytes, start: int, size: int, digest: str) -> str:
    """A chunk that comes too early, or again: refused; where to go on is told by GET."""
    wrong = start + size if start + size < len(blob) else 0
    piece = blob[wrong:wrong + size]
    last = bool(digest) and wrong + size >= len(blob)
    answer = client("PUT" if last else "PATCH", with_digest(path, digest) if last else path, piece,
                    Content_Range=f"{wrong}-{wrong + len(piece) - 1}")
    assert answer.status == 416
    told = client.get(path)
    assert (told.status, told.headers["Range"]) == (204, f"0-{max(start - 1, 0)}")
    return where(client, told)


WAYS: dict[str, Way] = {
    "post only": post_only,
    "post+put": post_and_put,
    "stream": stream,
    "chunked single": lambda *args: chunked(*args, count=1),
    "chunked multi": chunked,
    "chunked multi and put chunk": lambda *args: chunked(*args, put_last=True),
    "chunked out-of-order": lambda *args: chunked(*args, wrong_order=True),
    "chunked out-of-order and put chunk": lambda *args: chunked(*args, put_last=True, wrong_order=True),
}


def check_blob(client: Client, blob: bytes, digest: str, repo: str = REPO) -> None:
    path = f"/v2/{repo}/blobs/{digest}"
    for method in ("HEAD", "GET"):
        answer = client(method, path)
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(blob)))
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.body == (blob if method == "GET" else b"")
    assert client("DELETE", path).status == 202
    assert client("HEAD", path).status == 404, "it is gone at once"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("way", WAYS)
def test_a_blob_by(client: Client, way: str, algorithm: str) -> None:
    blob = os.urandom(3 * 1024 - 5)
    digest = digest_of(blob, algorithm)
    answer = WAYS[way](client, blob, digest)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    assert client.get(where(client, answer)).body == blob
    check_blob(client, blob, digest)
    assert WAYS[way](client, blob + b"oh no", digest).status == 400, "bad digest"
    assert client("HEAD", f"/v2/{REPO}/blobs/{digest}").status == 404


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("blob", [b"", b"{}"], ids=["empty", "emptyJSON"])
@pytest.mark.parametrize("way", ["post only", "post+put", "stream", "chunked multi"])
def test_a_well_known_blob_by(client: Client, way: str, blob: bytes, algorithm: str) -> None:
    digest = digest_of(blob, algorithm)
    assert WAYS[way](client, blob, digest).status == 201
    check_blob(client, blob, digest)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_mount_mount_anonymous_and_mount_missing(client: Client, algorithm: str) -> None:
    blob = os.urandom(512)
    digest = digest_of(blob, algorithm)
    for query in (f"mount={digest}&from={REPO2}", f"mount={digest}"):
        missing = client("POST", f"/v2/{REPO}/blobs/uploads/?{query}")
        assert missing.status == 202
        assert client("DELETE", where(client, missing), Content_Length="0").status == 204
        assert client("POST", f"/v2/{REPO2}/blobs/uploads/?digest={digest}", blob).status == 201
        answer = client("POST", f"/v2/{REPO}/blobs/uploads/?{query}")
        assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
        check_blob(client, blob, digest)
        check_blob(client, blob, digest, REPO2)


def test_post_cancel(client: Client) -> None:
    path = start_upload(client, REPO)
    assert client("DELETE", path, Content_Length="0").status == 204
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert client(method, with_digest(path, sha256(b"")) if method == "PUT" else path).status == 404


RANGES = {"bytes=500-1499": (500, 1500), "bytes=500-": (500, 2048), "bytes=-500": (1548, 2048),
          "bytes=2000-5000": (2000, 2048), "bytes=500-0": None, "bytes=5000-10000": None}


@pytest.mark.parametrize("header", RANGES)
def test_range_requests(client: Client, header: str) -> None:
    blob = os.urandom(2048)
    push_blob(client, REPO, blob)
    answer, wanted = client.get(f"/v2/{REPO}/blobs/{sha256(blob)}", Range=header), RANGES[header]
    if wanted is None:
        assert answer.status == 416
        return
    first, end = wanted
    assert (answer.status, answer.body) == (206, blob[first:end])
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/2048"
    assert answer.headers["Content-Length"] == str(end - first)


# --- manifests: every kind ------------------------------------------------------------------------------------------


class Data:
    """Manifests in the order in which they are pushed, with tags; their blobs are pushed as they are made."""

    def __init__(self, client: Client, algorithm: str = "sha256") -> None:
        self.client, self.algorithm = client, algorithm
        self.manifests: dict[str, tuple[str, bytes]] = {}  # digest → media type, body
        self.tags: dict[str, str] = {}
        self.referrers: dict[str, list[dict[str, Any]]] = {}

    def blob(self, data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        digest = digest_of(data, self.algorithm)
        assert post_only(self.client, data, digest).status == 201
        return {**descriptor(data, kind, **more), "digest": digest}

    def add(self, kind: str, body: dict[str, Any], tag: str = "") -> dict[str, Any]:
        data = json.dumps({"schemaVersion": 2, "mediaType": kind, **body}).encode()
        digest = digest_of(data, self.algorithm)
        self.manifests[digest] = (kind, data)
        if tag:
            self.tags[tag] = digest
        found = {**descriptor(data, kind), "digest": digest}
        if "subject" in body:
            named = body.get("artifactType") or body.get("config", {}).get("mediaType")
            self.referrers.setdefault(body["subject"]["digest"], []).append(
                {**found, "artifactType": named, "annotations": body.get("annotations")})
        return found

    def image(self, tag: str = "", *, layers: int = 2, layer_type: str = OCI + "layer.v1.tar",
              config: tuple[bytes, str] = (CONFIG, OCI + "config.v1+json"), **more: Any) -> dict[str, Any]:
        return self.add(MANIFEST, {
            "config": self.blob(*config), "layers": [self.blob(os.urandom(64), layer_type) for _ in range(layers)],
            **more}, tag)

    def artifact(self, tag: str = "", **more: Any) -> dict[str, Any]:
        more = {"artifactType": "application/vnd.example.one", "layers": 1, "layer_type": "application/vnd.example.one",
                **more}
        return self.image(tag, config=(b"{}", EMPTY_TYPE), **more)

    def index(self, tag: str = "", children: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
        if children is None:
            children = [{**self.image(), "platform": {"os": "linux", "architecture": one}}
                        for one in ("amd64", "arm64")]
        return self.add(INDEX, {"manifests": children, **more}, tag)


NOTE = {"org.opencontainers.conformance": "hello conformance test"}
ABSENT = descriptor(b"missing content", MANIFEST)


def _elsewhere(data: Data) -> None:
    absent = [{**descriptor(os.urandom(9), f"{OCI}layer.nondistributable.v1.tar{end}"), "urls": ["https://example.com/x"]}
              for end in ("+gzip", "")]
    here = data.blob(os.urandom(64), OCI + "layer.v1.tar+gzip")
    config = data.blob(CONFIG, OCI + "config.v1+json")
    data.add(MANIFEST, {"config": config, "layers": [*absent, here]}, "non-distributable-image")


def _with_subject(data: Data) -> None:
    subject = data.image("image")
    data.image(subject=subject)
    data.artifact("tagged-artifact1", subject=subject, annotations={**NOTE, "n": "1"})
    data.artifact("tagged-artifact2", subject=subject, annotations={**NOTE, "n": "2"}, layer_type="application/x",
                  artifactType="application/vnd.example.two")


def _index_with_subject(data: Data) -> None:
    subject = data.index("index")
    data.index("tagged-artifact", [data.artifact()], subject=subject, artifactType="application/vnd.example.one",
               annotations=NOTE)


def _data_field(data: Data) -> None:
    config = {**data.blob(b"{}", EMPTY_TYPE), "data": "e30="}
    data.add(MANIFEST, {"config": config, "layers": [config], "artifactType": "application/vnd.example.one"}, "data")


DATA: dict[str, Callable[[Data], object]] = {
    "image": lambda data: data.image("image", layer_type=OCI + "layer.v1.tar+gzip"),
    "image-uncompressed": lambda data: data.image("image-uncompressed"),
    "large-manifest": lambda data: data.image("large", annotations={f"large-{n}": "A" * 10_000 for n in range(390)}),
    "index": lambda data: data.index("index"),
    "nested-index": lambda data: data.index("index-of-index", [data.index(), data.index()]),
    "empty-index": lambda data: data.index("index", []),
    "artifact": lambda data: data.artifact("artifact"),
    "artifact-index": lambda data: data.index("artifact-index", [data.artifact(), data.artifact()],
                                              artifactType="application/vnd.example.one"),
    "artifact-without-layers": lambda data: data.add(MANIFEST, {
        "config": data.blob(b"{}", EMPTY_TYPE), "layers": [data.blob(b"{}", EMPTY_TYPE)],
        "artifactType": "application/vnd.example.one"}, "artifact-without-layers"),
    "artifacts-with-subject": _with_subject,
    "index-with-subject": _index_with_subject,
    "missing-subject": lambda data: data.artifact("tagged-artifact", subject=ABSENT, annotations=NOTE),
    "data-field": _data_field,
    "non-distributable-layers": _elsewhere,
    "custom-fields": lambda data: data.index("custom-fields", [data.image(custom="y")], custom=[1]),
    "no-layers": lambda data: data.image("no-layers", layers=0),
    "sha512": lambda data: data.index(),
}


def _push(client: Client, data: Data) -> None:
    for digest, (kind, body) in data.manifests.items():
        answer = put_manifest(client, REPO, digest, body, kind)
        assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
        assert answer.headers.get("OCI-Subject") == json.loads(body).get("subject", {}).get("digest")
        got = client.get(where(client, answer))
        assert (got.body, got.headers["Content-Type"]) == (body, kind)
    for tag, digest in data.tags.items():
        kind, body = data.manifests[digest]
        assert put_manifest(client, REPO, tag, body, kind).status == 201


def _check_there(client: Client, data: Data) -> None:
    tags = client.get(f"/v2/{REPO}/tags/list").json["tags"]
    assert tags == sorted(data.tags)
    for last in tags:
        assert client.get(f"/v2/{REPO}/tags/list?last={last}").json["tags"] == [tag for tag in tags if tag > last]
    for reference in (*data.tags, *data.manifests):
        digest = data.tags.get(reference, reference)
        kind, body = data.manifests[digest]
        for method in ("HEAD", "GET"):
            answer = client(method, f"/v2/{REPO}/manifests/{reference}", Accept=f"{INDEX}, {MANIFEST}")
            assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
            assert answer.headers["Docker-Content-Digest"] == digest
            assert answer.headers["Content-Length"] == str(len(body))
            assert answer.body == (body if method == "GET" else b"")


def _check_referrers(client: Client, data: Data) -> None:
    for subject, wanted in data.referrers.items():
        path = f"/v2/{REPO}/referrers/{subject}"
        found = client.get(path)
        assert (found.status, found.headers["Content-Type"]) == (200, INDEX)
        shown = {one["digest"]: one for one in found.json["manifests"]}
        assert {key: {**one, "annotations": one.get("annotations")} for key, one in shown.items()} == {
            one["digest"]: one for one in wanted}
        for kind in {one["artifactType"] for one in wanted}:
            filtered = client.get(f"{path}?artifactType={kind.replace('+', '%2B')}")
            assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
            assert {one["digest"] for one in filtered.json["manifests"]} == {
                one["digest"] for one in wanted if one["artifactType"] == kind}


def _delete(client: Client, data: Data) -> None:
    for reference in (*data.tags, *reversed(data.manifests)):
        assert client("DELETE", f"/v2/{REPO}/manifests/{reference}").status == 202
        assert client("HEAD", f"/v2/{REPO}/manifests/{reference}").status == 404


@pytest.mark.parametrize("kind", DATA)
def test_a_manifest_that_is(client: Client, kind: str) -> None:
    data = Data(client, "sha512" if kind == "sha512" else "sha256")
    DATA[kind](data)
    _push(client, data)
    _check_there(client, data)
    _check_referrers(client, data)
    _delete(client, data)


def test_bad_digest_image_and_invalid_digest_format(client: Client) -> None:
    data = Data(client)
    digest = data.image()["digest"]
    kind, body = data.manifests[digest]
    assert put_manifest(client, REPO, digest, body + b"  ", kind).status == 400
    assert put_manifest(client, REPO, "sha256:baddigeststring", body, kind).status == 400
    assert client.get(f"/v2/{REPO}/manifests/sha256:baddigeststring").status in (400, 404)


def test_sparse_manifests_are_refused(client: Client) -> None:
    data = Data(client)
    here = data.image()
    _push(client, data)
    layer = json.loads(data.manifests[here["digest"]][1])["layers"][0]["digest"]
    assert client("DELETE", f"/v2/{REPO}/blobs/{layer}").status == 202
    assert put_manifest(client, REPO, "again", data.manifests[here["digest"]][1]).status == 404
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [here, ABSENT]}).encode()
    assert put_manifest(client, REPO, "sparse", index, INDEX).status == 404


def test_empty_tag_list_and_referrers_of_a_repository_that_is_not_there(client: Client) -> None:
    assert client.get(f"/v2/{REPO}/tags/list").status == 404
    found = client.get(f"/v2/{REPO}/referrers/{ABSENT['digest']}")
    assert (found.status, found.headers["Content-Type"]) == (200, INDEX)
    assert (found.json["schemaVersion"], found.json["mediaType"], found.json["manifests"]) == (2, INDEX, [])
