"""The OCI distribution specification 1.1, endpoint by endpoint, as its table numbers them (#endpoints).

The other tests of /v2 ask what this Hub does; these ask what the specification wants of any registry, in its words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kist.hub.app import open_hub
from kist.hub.blobs import MemoryBlobs
from kist.hub.config import HubConfig
from kist.hub.content import Content
from kist.hub.memory_metadata import MemoryMetadata
from unit.hub.images import INDEX, MANIFEST, OCI, Image, descriptor, index_of, push_blob, put_manifest, sha256
from unit.hub.served import Answer, Client, serving


@pytest.fixture(params=["disk", "memory"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """Over both implementations of the storage: what the specification wants is no matter of either."""
    content = Content(MemoryBlobs(), MemoryMetadata()) if request.param == "memory" else None
    with serving(open_hub(HubConfig(data=tmp_path, access_log=""), content)) as client:
        yield client


ABSENT = sha256(b"nobody has this")
NAMES = ["app", "team/app", "a/b/c/d", "with.dots/under_score/double__under/da--sh"]
EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


def pushed(client: Client, name: str = "app", tag: str = "v1", **more: Any) -> Image:
    image = Image(**more)
    image.push(client, name, tag)
    return image


def start_upload(client: Client, name: str = "app") -> str:
    answer = client("POST", f"/v2/{name}/blobs/uploads/", Content_Length="0")
    assert answer.status == 202
    return where(client, answer)


def where(client: Client, answer: Answer) -> str:
    """The path of a Location, which may be relative or absolute (#pushing-blobs)."""
    return answer.headers["Location"].removeprefix(client.url)


def with_digest(path: str, digest: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}digest={digest}"


def check_error(answer: Answer, status: int, *codes: str) -> None:
    """#error-codes: `errors` is a list, each with a `code` of capital letters; the rest is optional."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"].startswith("application/json")
    errors = answer.json["errors"]
    assert errors and all(re.fullmatch("[A-Z_]+", one["code"]) for one in errors)
    assert not codes or errors[0]["code"] in codes
    assert all(set(one) <= {"code", "message", "detail"} for one in errors)


# --- end-1 -----------------------------------------------------------------------------------------------------


def test_end_1_says_that_the_specification_is_implemented(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        assert client.get(path).status == 200
    assert client.get("/v2/").headers["Docker-Distribution-API-Version"] == "registry/2.0"
    assert client("HEAD", "/v2/").status == 200


# --- end-2: pulling blobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_end_2_blobs(client: Client, name: str) -> None:
    push_blob(client, name, b"content")
    digest = sha256(b"content")
    for method in ("GET", "HEAD"):
        answer = client(method, f"/v2/{name}/blobs/{digest}")
        assert answer.status == 200
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Content-Length"] == "7"
        assert answer.body == (b"content" if method == "GET" else b"")
    check_error(client.get(f"/v2/{name}/blobs/{ABSENT}"), 404, "BLOB_UNKNOWN")
    missing = client("HEAD", f"/v2/{name}/blobs/{ABSENT}")
    assert missing.status == 404 and missing.body == b""


def test_end_2_in_parts(client: Client) -> None:
    push_blob(client, "app", b"0123456789")
    path = f"/v2/app/blobs/{sha256(b'0123456789')}"
    answer = client.get(path, Range="bytes=2-4")
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert answer.headers["Content-Length"] == "3"
    assert client.get(path, Range="bytes=7-").body == b"789"
    assert client.get(path, Range="bytes=-2").body == b"89"
    assert client.get(path, Range="bytes=8-100").body == b"89"
    check_error(client.get(path, Range="bytes=5-0"), 416)
    beyond = client.get(path, Range="bytes=10-11")
    check_error(beyond, 416)
    assert beyond.headers["Content-Range"] == "bytes */10"
    assert client("HEAD", path, Range="bytes=2-4").headers["Content-Length"] == "10"


# --- end-3: pulling manifests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_end_3_manifests(client: Client, name: str) -> None:
    image = pushed(client, name)
    for reference in ("v1", image.digest):
        for method in ("GET", "HEAD"):
            answer = client(method, f"/v2/{name}/manifests/{reference}", Accept=f"{INDEX}, {MANIFEST}")
            assert answer.status == 200
            assert answer.headers["Docker-Content-Digest"] == image.digest
            assert answer.headers["Content-Type"] == MANIFEST
            assert answer.headers["Content-Length"] == str(len(image.manifest))
            assert answer.body == (image.manifest if method == "GET" else b"")
    check_error(client.get(f"/v2/{name}/manifests/absent"), 404, "MANIFEST_UNKNOWN")
    check_error(client.get(f"/v2/{name}/manifests/{ABSENT}"), 404, "MANIFEST_UNKNOWN")
    check_error(client.get("/v2/nobody/manifests/v1"), 404, "NAME_UNKNOWN", "MANIFEST_UNKNOWN")
    missing = client("HEAD", f"/v2/{name}/manifests/absent")
    assert missing.status == 404 and missing.body == b""


# --- end-4, end-6: pushing blobs at once ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_end_4a_and_6_post_then_put(client: Client, name: str) -> None:
    blob = b"at once"
    path = start_upload(client, name)
    answer = client("PUT", with_digest(path, sha256(blob)), blob, Content_Type="application/octet-stream",
                    Content_Length=str(len(blob)))
    assert answer.status == 201
    assert client.get(where(client, answer)).body == blob
    assert client.get(path).status == 404, "the session is over"


def test_end_4b_in_one_post(client: Client) -> None:
    blob = b"in one"
    answer = client("POST", f"/v2/app/blobs/uploads/?digest={sha256(blob)}", blob,
                    Content_Type="application/octet-stream")
    assert answer.status == 201
    assert client.get(where(client, answer)).body == blob
    check_error(client("POST", f"/v2/app/blobs/uploads/?digest={ABSENT}", blob), 400, "DIGEST_INVALID")


@pytest.mark.parametrize("digest", [ABSENT, "sha256:short", "md5:" + "0" * 32, "nothing", ""])
def test_end_6_a_wrong_digest(client: Client, digest: str) -> None:
    check_error(client("PUT", with_digest(start_upload(client), digest), b"x"), 400, "DIGEST_INVALID")
    check_error(client("PUT", start_upload(client), b"x"), 400, "DIGEST_INVALID")


def test_end_6_of_an_upload_that_nobody_began(client: Client) -> None:
    for upload in ("0" * 32, "x", "%2e%2e", "a" * 500):
        check_error(client("PUT", with_digest(f"/v2/app/blobs/uploads/{upload}", ABSENT), b"x"), 404,
                    "BLOB_UPLOAD_UNKNOWN")


# --- end-5, end-13: in chunks ----------------------------------------------------------------------------------


def test_end_5_chunks_and_end_13_the_way_so_far(client: Client) -> None:
    chunks = [b"one", b"two", b"three"]
    path, offset = start_upload(client), 0
    for chunk in chunks[:2]:
        answer = client("PATCH", path, chunk, Content_Type="application/octet-stream",
                        Content_Range=f"{offset}-{offset + len(chunk) - 1}", Content_Length=str(len(chunk)))
        offset += len(chunk)
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{offset - 1}")
        path = where(client, answer)
        status = client.get(path)
        assert (status.status, status.headers["Range"]) == (204, f"0-{offset - 1}")
        assert where(client, status)
    whole = b"".join(chunks)
    answer = client("PUT", with_digest(path, sha256(whole)), chunks[2], Content_Range=f"{offset}-{len(whole) - 1}")
    assert answer.status == 201
    assert client.get(where(client, answer)).body == whole


@pytest.mark.parametrize("content_range", ["1-3", "6-8", "0-2", "3-9"])
def test_end_5_out_of_order(client: Client, content_range: str) -> None:
    path = start_upload(client)
    path = where(client, client("PATCH", path, b"abc", Content_Range="0-2"))
    answer = client("PATCH", path, b"def", Content_Range=content_range)
    check_error(answer, 416)
    assert client.get(path).headers["Range"] == "0-2", "nothing was taken"
    assert client("PATCH", path, b"def", Content_Range="3-5").status == 202


def test_end_5_and_13_of_an_upload_that_nobody_began(client: Client) -> None:
    check_error(client("PATCH", f"/v2/app/blobs/uploads/{'0' * 32}", b"x", Content_Range="0-0"), 404,
                "BLOB_UPLOAD_UNKNOWN")
    check_error(client.get(f"/v2/app/blobs/uploads/{'0' * 32}"), 404, "BLOB_UPLOAD_UNKNOWN")


def test_end_5_as_a_stream(client: Client) -> None:
    """#pushing-a-blob-in-chunks is one way; clients also send one PATCH without any range (docker does)."""
    def pieces() -> Iterator[bytes]:
        yield b"some"
        yield b"thing"
    answer = client("PATCH", start_upload(client), pieces())
    assert (answer.status, answer.headers["Range"]) == (202, "0-8")
    assert client("PUT", with_digest(where(client, answer), sha256(b"something"))).status == 201


# --- end-11: mounting ------------------------------------------------------------------------------------------


def test_end_11_mounting(client: Client) -> None:
    push_blob(client, "one", b"shared")
    digest = sha256(b"shared")
    answer = client("POST", f"/v2/two/blobs/uploads/?mount={digest}&from=one")
    assert answer.status == 201
    assert where(client, answer) == f"/v2/two/blobs/{digest}"
    assert client.get(f"/v2/two/blobs/{digest}").body == b"shared"
    for query in (f"mount={ABSENT}&from=one", f"mount={digest}&from=nobody", f"mount={ABSENT}",
                  f"mount={digest}&from="):
        other = client("POST", f"/v2/three/blobs/uploads/?{query}")
        assert other.status == 202, "an upload begins instead"
        assert where(client, other).startswith("/v2/three/blobs/uploads/")


def test_end_11_from_wherever_it_is(client: Client) -> None:
    """#mounting-a-blob-from-another-repository: `from` is optional where the registry finds the blob by itself."""
    push_blob(client, "one", b"shared")
    answer = client("POST", f"/v2/two/blobs/uploads/?mount={sha256(b'shared')}")
    assert answer.status == 201
    assert client.get(where(client, answer)).body == b"shared"


# --- end-7: pushing manifests ------------------------------------------------------------------------------------


def test_end_7_by_tag_and_digest(client: Client) -> None:
    image = Image()
    for blob in (image.config, *image.layers):
        push_blob(client, "app", blob)
    for reference in ("v1", "A_b.c-d", "x" * 128, image.digest):
        answer = put_manifest(client, "app", reference, image.manifest)
        assert answer.status == 201
        assert answer.headers["Docker-Content-Digest"] == image.digest
        assert client.get(where(client, answer)).body == image.manifest
        assert "OCI-Subject" not in answer.headers
    for wrong in (".dot", "-dash", "x" * 129, "ü"):
        check_error(put_manifest(client, "app", wrong.replace("ü", "%C3%BC"), image.manifest), 400, "TAG_INVALID",
                    "NAME_INVALID")
    check_error(put_manifest(client, "app", ABSENT, image.manifest), 400, "DIGEST_INVALID")
    check_error(put_manifest(client, "app", "broken", b"{"), 400, "MANIFEST_INVALID")


def test_end_7_bytes_are_kept_as_they_came(client: Client) -> None:
    image = Image()
    image.push(client, "app", "v1")
    spaced = json.dumps(json.loads(image.manifest), indent=7).encode() + b"\n\n"
    assert put_manifest(client, "app", "spaced", spaced).status == 201
    assert client.get("/v2/app/manifests/spaced").body == spaced


def test_end_7_fields_and_types_of_later_versions_are_kept(client: Client) -> None:
    image = pushed(client, more={"com.example.later": {"deep": [1, 2]}, "annotations": {"a": "ü"}})
    assert client.get("/v2/app/manifests/v1").body == image.manifest


def artifact(client: Client, name: str, kind: str, *, subject: dict[str, Any] | None = None, layers: int = 1,
             config_type: str = EMPTY_TYPE, artifact_type: bool = True, **annotations: str) -> bytes:
    """An artifact's manifest (image-spec 1.1, manifest.md#guidelines-for-artifact-usage), its blobs pushed."""
    blob = f"content of {kind}".encode()
    for data in (EMPTY, blob):
        push_blob(client, name, data)
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(EMPTY, config_type),
            "layers": [descriptor(blob, "application/x-blob")] * layers}
    if artifact_type:
        body["artifactType"] = kind
    if subject:
        body["subject"] = subject
    if annotations:
        body["annotations"] = annotations
    return json.dumps(body).encode()


def test_end_7_artifacts_with_an_empty_configuration_or_no_layers(client: Client) -> None:
    for tag, layers in (("one", 1), ("none", 0)):
        body = artifact(client, "art", "application/vnd.example+type", layers=layers)
        assert put_manifest(client, "art", tag, body).status == 201
        assert client.get(f"/v2/art/manifests/{tag}").body == body


def test_end_7_an_index_needs_its_manifests_and_may_be_empty(client: Client) -> None:
    here, absent = pushed(client), Image([b"somewhere else"])
    assert put_manifest(client, "app", "multi", index_of(here), INDEX).status == 201
    assert put_manifest(client, "app", "empty", index_of(), INDEX).status == 201
    check_error(put_manifest(client, "app", "bad", index_of(here, absent), INDEX), 404, "MANIFEST_BLOB_UNKNOWN")


def test_end_7_at_least_4_mib_are_taken(client: Client) -> None:
    image = Image(more={"annotations": {"pad": "x" * (4_000_000)}})
    image.push(client, "app", "large")
    assert client.get("/v2/app/manifests/large").body == image.manifest
    check_error(put_manifest(client, "app", "larger", b" " * (4 << 20) + image.manifest), 413)


# --- end-8: tags -----------------------------------------------------------------------------------------------


def test_end_8_tags_in_order_and_in_pages(client: Client) -> None:
    tags = sorted(["v1", "v10", "v2", "A", "a", "_", "0.1"])
    for tag in tags:
        pushed(client, tag=tag)
    assert client.get("/v2/app/tags/list").json == {"name": "app", "tags": tags}
    first = client.get("/v2/app/tags/list?n=3")
    assert first.json["tags"] == tags[:3]
    found = re.fullmatch(r'<([^>]+)>; rel="next"', first.headers["Link"])
    assert found is not None
    assert client.get(found.group(1).removeprefix(client.url)).json["tags"] == tags[3:6]
    assert client.get(f"/v2/app/tags/list?n=3&last={tags[5]}").json["tags"] == tags[6:]
    assert "Link" not in client.get(f"/v2/app/tags/list?last={tags[5]}").headers
    assert client.get("/v2/app/tags/list?last=v10").json["tags"] == ["v2"], "also after a tag"
    assert client.get("/v2/app/tags/list?last=b").json["tags"] == ["v1", "v10", "v2"], "that need not be there"
    assert client.get("/v2/app/tags/list?n=0").json["tags"] == []
    assert client.get("/v2/app/tags/list?n=1000").json["tags"] == tags
    check_error(client.get("/v2/nobody/tags/list"), 404, "NAME_UNKNOWN")
    for wrong in ("-1", "x", "1.5"):
        assert client.get(f"/v2/app/tags/list?n={wrong}").status == 400


def test_end_8_thousands_of_tags_come_in_pages(client: Client) -> None:
    image = pushed(client, tag="t0000")
    stored = client.hub.metadata.ensure_repository("app")
    with client.hub.metadata.transaction():
        for number in range(2500):
            client.hub.metadata.tag(stored, f"t{number:04}", image.digest)  # type: ignore[arg-type]
    seen: list[str] = []
    path = "/v2/app/tags/list"
    while path:
        answer = client.get(path)
        seen += answer.json["tags"]
        path = answer.headers.get("Link", "").partition(">")[0].strip("<").removeprefix(client.url)
    assert seen == [f"t{number:04}" for number in range(2500)]
    html = client.get("/r/app").body.decode()
    assert html.count('<th scope="row">') == 50 and "More" in html


# --- end-9, end-10: deleting -------------------------------------------------------------------------------------


def test_end_9_a_tag_goes_and_its_manifest_stays(client: Client) -> None:
    image = pushed(client)
    assert client("DELETE", "/v2/app/manifests/v1").status == 202
    check_error(client.get("/v2/app/manifests/v1"), 404, "MANIFEST_UNKNOWN")
    assert client.get(f"/v2/app/manifests/{image.digest}").status == 200
    check_error(client("DELETE", "/v2/app/manifests/v1"), 404)


def test_end_9_a_manifest_goes_with_its_tags(client: Client) -> None:
    image = pushed(client)
    put_manifest(client, "app", "v2", image.manifest)
    assert client("DELETE", f"/v2/app/manifests/{image.digest}").status == 202
    for reference in ("v1", "v2", image.digest):
        check_error(client.get(f"/v2/app/manifests/{reference}"), 404, "MANIFEST_UNKNOWN", "NAME_UNKNOWN")
    check_error(client("DELETE", f"/v2/app/manifests/{image.digest}"), 404)


def test_end_10_a_blob_goes(client: Client) -> None:
    push_blob(client, "app", b"to go")
    push_blob(client, "other", b"to go")
    digest = sha256(b"to go")
    assert client("DELETE", f"/v2/app/blobs/{digest}").status == 202
    check_error(client.get(f"/v2/app/blobs/{digest}"), 404, "BLOB_UNKNOWN")
    check_error(client("DELETE", f"/v2/app/blobs/{digest}"), 404, "BLOB_UNKNOWN")
    assert client.get(f"/v2/other/blobs/{digest}").status == 200


# --- end-12: referrers -------------------------------------------------------------------------------------------


def test_end_12_referrers(client: Client) -> None:
    image = pushed(client)
    bodies = {kind: artifact(client, "app", kind, subject=image.descriptor, note=kind)
              for kind in ("application/x-sbom", "application/x-signature")}
    # Without artifactType, the configuration's media type counts (#listing-referrers).
    bodies["application/x-old"] = artifact(client, "app", "x", subject=image.descriptor, artifact_type=False,
                                           config_type="application/x-old")
    for body in bodies.values():
        answer = put_manifest(client, "app", sha256(body), body)
        assert (answer.status, answer.headers["OCI-Subject"]) == (201, image.digest)
    answer = client.get(f"/v2/app/referrers/{image.digest}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, INDEX)
    assert "OCI-Filters-Applied" not in answer.headers
    assert (answer.json["schemaVersion"], answer.json["mediaType"]) == (2, INDEX)
    found = {one["artifactType"]: one for one in answer.json["manifests"]}
    assert {kind: (one["digest"], one["size"], one["mediaType"]) for kind, one in found.items()} == {
        kind: (sha256(body), len(body), MANIFEST) for kind, body in bodies.items()}
    assert found["application/x-sbom"]["annotations"] == {"note": "application/x-sbom"}
    filtered = client.get(f"/v2/app/referrers/{image.digest}?artifactType=application/x-sbom")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert [one["artifactType"] for one in filtered.json["manifests"]] == ["application/x-sbom"]
    client("DELETE", f"/v2/app/manifests/{sha256(bodies['application/x-sbom'])}")
    assert len(client.get(f"/v2/app/referrers/{image.digest}").json["manifests"]) == 2


def test_end_12_an_index_may_refer_too(client: Client) -> None:
    image = pushed(client)
    index = index_of(image, subject=image.descriptor, artifactType="application/x-index", annotations={"a": "b"})
    assert put_manifest(client, "app", sha256(index), index, INDEX).headers["OCI-Subject"] == image.digest
    (found,) = client.get(f"/v2/app/referrers/{image.digest}").json["manifests"]
    assert (found["mediaType"], found["artifactType"], found["annotations"]) == (
        INDEX, "application/x-index", {"a": "b"})


def test_end_12_of_nothing_and_of_what_comes_later(client: Client) -> None:
    """A subject need not be there, and an unknown digest is an empty list, not a 404 (which means: no such API)."""
    image = Image([b"pushed later"])
    for name in ("app", "nobody"):
        answer = client.get(f"/v2/{name}/referrers/{image.digest}")
        assert (answer.status, answer.json["manifests"], answer.headers["Content-Type"]) == (200, [], INDEX)
    body = artifact(client, "app", "application/x-early", subject=image.descriptor)
    assert put_manifest(client, "app", sha256(body), body).headers["OCI-Subject"] == image.digest
    assert len(client.get(f"/v2/app/referrers/{image.digest}").json["manifests"]) == 1
    check_error(client.get("/v2/app/referrers/sha256:short"), 400)


def test_end_12_the_tag_schema_of_older_clients_is_a_tag_like_others(client: Client) -> None:
    image = pushed(client)
    tag = image.digest.replace(":", "-")
    assert put_manifest(client, "app", tag, index_of(image), INDEX).status == 201
    assert client.get(f"/v2/app/manifests/{tag}").json["manifests"][0]["digest"] == image.digest


# --- names, methods ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["UPPER", "-x", "x-", "a//b", "a/", ".hidden", "a..b", "a___b", "ü", "a b", "x" * 256,
                                  "a/../b", "%00", "a'b", "<script>"])
def test_names_that_are_none(client: Client, name: str) -> None:
    from urllib.parse import quote

    answer = client.get(f"/v2/{quote(name, safe='/%')}/tags/list")
    check_error(answer, 400 if answer.status != 404 else 404, "NAME_INVALID", "NAME_UNKNOWN")
    assert b"<script>" not in answer.body or answer.headers["Content-Type"].startswith("application/json")


def test_methods_that_are_none(client: Client) -> None:
    for method, path in (("POST", "/v2/app/manifests/v1"), ("PUT", f"/v2/app/blobs/{ABSENT}"), ("PATCH", "/v2/"),
                         ("DELETE", "/v2/app/tags/list"), ("PUT", "/v2/app/blobs/uploads/")):
        answer = client(method, path)
        check_error(answer, 405, "UNSUPPORTED")
        assert answer.headers["Allow"]


def test_types_that_the_specification_names_are_taken(client: Client) -> None:
    assert OCI == "application/vnd.oci.image."
    for kind in (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"):
        image = Image()
        body = json.dumps(json.loads(image.manifest) | {"mediaType": kind}).encode()
        for blob in (image.config, *image.layers):
            push_blob(client, "app", blob)
        assert put_manifest(client, "app", "v1", body, kind).status == 201
        assert client.get("/v2/app/manifests/v1").headers["Content-Type"] == kind
