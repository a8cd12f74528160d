"""Manifests, tags, referrers and lists over HTTP (distribution-spec 1.1)."""

from __future__ import annotations

import json

import pytest

from kist.hub.hub import Hub
from unit.hub.images import CONFIG, INDEX, MANIFEST, OCI, Image, descriptor, index_of, push_blob, put_manifest, sha256
from unit.hub.served import Client


def test_push_and_pull_by_tag_and_digest(client: Client) -> None:
    image = Image()
    answer = image.push(client, "team/app", "v1")
    assert answer.headers["Docker-Content-Digest"] == image.digest
    assert answer.headers["Location"] == "/v2/team/app/manifests/v1"
    for reference in ("v1", image.digest):
        answer = client.get(f"/v2/team/app/manifests/{reference}")
        assert (answer.status, answer.body) == (200, image.manifest)
        assert answer.headers["Content-Type"] == MANIFEST
        assert answer.headers["Docker-Content-Digest"] == image.digest
        head = client("HEAD", f"/v2/team/app/manifests/{reference}")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(image.manifest)))


def test_unknown_manifests(client: Client) -> None:
    assert client.get("/v2/team/app/manifests/v1").code == "NAME_UNKNOWN"
    Image().push(client, "team/app", "v1")
    answer = client.get("/v2/team/app/manifests/v2")
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
    assert client.get(f"/v2/team/app/manifests/sha256:{'0' * 64}").code == "MANIFEST_UNKNOWN"
    assert client.get("/v2/team/app/manifests/-bad").code == "TAG_INVALID"
    assert client.get("/v2/team/app/manifests/sha256:bad").code == "DIGEST_INVALID"


def test_what_a_manifest_names_must_be_there(client: Client) -> None:
    image = Image()
    push_blob(client, "app", image.config)
    answer = put_manifest(client, "app", "v1", image.manifest)
    assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert answer.json["errors"][0]["detail"] == [{"digest": sha256(image.layers[0])}]
    assert put_manifest(client, "app", "all", index_of(image), INDEX).code == "MANIFEST_BLOB_UNKNOWN"
    assert client.get("/v2/app/tags/list").code == "NAME_UNKNOWN"
    image.push(client, "app", "v1")
    assert put_manifest(client, "app", "all", index_of(image), INDEX).status == 201
    assert client.get("/v2/app/manifests/all").headers["Content-Type"] == INDEX


def test_layers_that_live_elsewhere_need_not_be_there(client: Client) -> None:
    foreign = descriptor(b"windows", OCI + "layer.nondistributable.v1.tar+gzip", urls=["https://example.com/layer"])
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, OCI + "config.v1+json"),
                       "layers": [foreign]}).encode()
    push_blob(client, "app", CONFIG)
    assert put_manifest(client, "app", "v1", body).status == 201


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"not json", b'{"schemaVersion": 1}', b"\xff\xfe", b"[" * 100_000])
def test_broken_manifests(client: Client, body: bytes) -> None:
    answer = put_manifest(client, "app", "v1", body)
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")


def test_a_manifest_of_another_type_than_announced(client: Client) -> None:
    image = Image()
    image.push(client, "app", "v1")
    assert put_manifest(client, "app", "v2", image.manifest, INDEX).code == "MANIFEST_INVALID"


def test_manifests_are_bounded(client: Client) -> None:
    for body in (b" " * (4 << 20) + b" ", iter([b" " * (1 << 20)] * 5)):
        answer = client("PUT", "/v2/app/manifests/v1", body, Content_Type=MANIFEST)
        assert (answer.status, answer.code) == (413, "MANIFEST_INVALID")


def test_a_manifest_under_the_wrong_digest(client: Client) -> None:
    image = Image()
    image.push(client, "app", image.digest)
    answer = put_manifest(client, "app", f"sha256:{'0' * 64}", image.manifest)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert client.get("/v2/app/tags/list").json == {"name": "app", "tags": []}


def test_tags_move(client: Client) -> None:
    one, two = Image([b"1"]), Image([b"2"])
    one.push(client, "app", "v1")
    two.push(client, "app", "v1")
    assert client.get("/v2/app/manifests/v1").body == two.manifest
    assert client.get(f"/v2/app/manifests/{one.digest}").body == one.manifest


def test_deleting_a_tag_and_a_manifest(client: Client) -> None:
    image = Image()
    image.push(client, "app", "v1")
    image.push(client, "app", "v2")
    assert client("DELETE", "/v2/app/manifests/v1").status == 202
    assert client.get("/v2/app/manifests/v1").status == 404
    assert client.get("/v2/app/manifests/v2").status == 200
    assert client("DELETE", f"/v2/app/manifests/{image.digest}").status == 202
    assert client.get("/v2/app/manifests/v2").status == 404
    assert client("DELETE", f"/v2/app/manifests/{image.digest}").status == 404
    assert client.get("/v2/app/tags/list").status == 404


def test_tags_in_pages(client: Client) -> None:
    image = Image()
    image.push(client, "app", "latest")
    for tag in ("b", "a", "C", "1.0"):
        put_manifest(client, "app", tag, image.manifest)
    everything = ["1.0", "C", "a", "b", "latest"]
    assert client.get("/v2/app/tags/list").json == {"name": "app", "tags": everything}
    got, path = [], "/v2/app/tags/list?n=2"
    while path:
        answer = client.get(path)
        got.append(answer.json["tags"])
        path = answer.headers.get("Link", "")[1:].partition(">")[0]
    assert got == [everything[:2], everything[2:4], everything[4:]]
    assert client.get("/v2/app/tags/list?n=0").json["tags"] == []
    assert client.get("/v2/app/tags/list?last=a").json["tags"] == ["b", "latest"]
    for wrong in ("x", "-1", "1.5", "9" * 30):
        assert client.get(f"/v2/app/tags/list?n={wrong}").code == "PAGINATION_NUMBER_INVALID"


def test_the_catalog(client: Client) -> None:
    for name in ("b/c", "a", "b"):
        Image().push(client, name, "v1")
    push_blob(client, "only-a-blob", b"x")
    assert client.get("/v2/_catalog").json == {"repositories": ["a", "b", "b/c"]}
    answer = client.get("/v2/_catalog?n=2")
    assert answer.json == {"repositories": ["a", "b"]}
    assert answer.headers["Link"] == '</v2/_catalog?n=2&last=b>; rel="next"'


def test_referrers(client: Client) -> None:
    image = Image()
    image.push(client, "app", "v1")
    empty = client.get(f"/v2/app/referrers/{image.digest}")
    assert (empty.status, empty.headers["Content-Type"]) == (200, INDEX)
    assert empty.json == {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    subject = {"subject": image.descriptor}
    bill = Image([b"sbom"], more={**subject, "artifactType": "application/spdx+json", "annotations": {"a": "b"}})
    signature = Image([b"signature"], config=b"{}", more=subject)
    assert bill.push(client, "app", bill.digest).headers["OCI-Subject"] == image.digest
    signature.push(client, "app", signature.digest)
    found = client.get(f"/v2/app/referrers/{image.digest}").json["manifests"]
    assert [(entry["digest"], entry["artifactType"]) for entry in found] == [
        (bill.digest, "application/spdx+json"), (signature.digest, OCI + "config.v1+json")]
    assert found[0] == {**bill.descriptor, "artifactType": "application/spdx+json", "annotations": {"a": "b"}}
    only = client.get(f"/v2/app/referrers/{image.digest}?artifactType=application%2Fspdx%2Bjson")
    assert only.headers["OCI-Filters-Applied"] == "artifactType"
    assert [entry["digest"] for entry in only.json["manifests"]] == [bill.digest]
    assert client.get("/v2/app/referrers/sha256:bad").status == 400
    client("DELETE", f"/v2/app/manifests/{bill.digest}")
    assert len(client.get(f"/v2/app/referrers/{image.digest}").json["manifests"]) == 1


def test_a_subject_need_not_be_there(client: Client) -> None:
    missing = {"mediaType": MANIFEST, "digest": "sha256:" + "0" * 64, "size": 5}
    bill = Image(more={"subject": missing})
    assert bill.push(client, "app", "bill").headers["OCI-Subject"] == missing["digest"]
    assert len(client.get(f"/v2/app/referrers/{missing['digest']}").json["manifests"]) == 1


def test_pulls_are_counted(client: Client, hub: Hub) -> None:
    Image().push(client, "app", "v1")
    for _ in range(3):
        client.get("/v2/app/manifests/v1")
    client("HEAD", "/v2/app/manifests/v1")
    hub.flush_pulls()
    client.get("/v2/app/manifests/v1")
    hub.flush_pulls()
    assert hub.metadata.total_pulls("app") == 4
    assert list(hub.metadata.pulls("app", "2000-01-01").values()) == [4]


@pytest.mark.parametrize(("method", "path"), [
    ("PATCH", "/v2/app/manifests/v1"), ("POST", "/v2/app/tags/list"), ("PUT", "/v2/app/blobs/uploads/")])
def test_wrong_methods(client: Client, method: str, path: str) -> None:
    answer = client(method, path, b"")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["Allow"]


def test_methods_that_nobody_knows(client: Client) -> None:
    answer = client("BREW", "/v2/app/tags/list")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert client("BREW", "/search").status == 405


def test_web_pages_of_other_sites_write_nothing(client: Client) -> None:
    answer = client("POST", "/v2/app/blobs/uploads/", b"", Sec_Fetch_Site="cross-site")
    assert (answer.status, answer.code) == (403, "DENIED")
    assert client("POST", "/v2/app/blobs/uploads/", b"", Sec_Fetch_Site="same-origin").status == 202


def test_metrics_and_health(client: Client) -> None:
    Image().push(client, "app", "v1")
    client.get("/v2/app/manifests/v1")
    text = client.get("/metrics").body.decode()
    assert 'kist_hub_requests_total{method="GET",route="manifest",status="200"} 1' in text
    assert "kist_hub_repositories 1" in text
    assert client.get("/healthz").status == 200


def test_to_ask_for_a_manifest_is_to_rely_on_it(client: Client, hub: Hub) -> None:
    """A push of an index leaves an image out that is there: garbage collection does, too."""
    image = Image()
    image.push(client, "app", image.digest)
    pushed = hub.content.metadata.clock()
    hub.content.metadata.clock = lambda: pushed + 1000
    assert client.get(f"/v2/app/manifests/{image.digest}").status == 200
    assert hub.content.metadata.drop_untagged(pushed - 1) == 0
    assert client("HEAD", f"/v2/app/manifests/{image.digest}").status == 200
    assert hub.content.metadata.drop_untagged(pushed + 1) == 0
    assert hub.content.metadata.drop_untagged(pushed + 1001) == 1
