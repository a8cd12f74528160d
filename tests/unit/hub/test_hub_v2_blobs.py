"""Blobs and uploads over HTTP (distribution-spec 1.1)."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable

import pytest

from kist.hub.hub import Hub
from unit.hub.images import push_blob, sha256
from unit.hub.served import Answer, Client

BLOB = bytes(range(256)) * 40
UPLOADS = "/v2/team/app/blobs/uploads/"


def blob_path(blob: bytes = BLOB, name: str = "team/app") -> str:
    return f"/v2/{name}/blobs/{sha256(blob)}"


def begin(client: Client, path: str = UPLOADS) -> str:
    answer = client("POST", path, b"")
    assert answer.status == 202
    assert answer.headers["Range"] == "0-0"
    assert answer.headers["Docker-Upload-UUID"]
    return answer.headers["Location"]


def test_the_base(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        answer = client.get(path)
        assert (answer.status, answer.headers["Docker-Distribution-API-Version"]) == (200, "registry/2.0")
    assert client("POST", "/v2/").status == 405


def test_a_blob_that_is_not_there(client: Client) -> None:
    answer = client.get(blob_path())
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert client("HEAD", blob_path()).status == 404
    assert client("DELETE", blob_path()).status == 404


def test_post_then_put(client: Client) -> None:
    location = begin(client)
    answer = client("PUT", f"{location}?digest={sha256(BLOB)}", BLOB)
    assert answer.status == 201
    assert answer.headers["Location"] == blob_path()
    assert answer.headers["Docker-Content-Digest"] == sha256(BLOB)
    head = client("HEAD", blob_path())
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(BLOB)), b"")
    answer = client.get(blob_path())
    assert (answer.status, answer.body) == (200, BLOB)
    assert answer.headers["Docker-Content-Digest"] == sha256(BLOB)
    assert client.get(blob_path(), If_None_Match=answer.headers["ETag"]).status == 304
    assert client.get(location).status == 404  # the upload is over


def test_everything_in_one_post(client: Client) -> None:
    push_blob(client, "team/app", BLOB)
    assert client.get(blob_path()).body == BLOB


def test_an_empty_blob(client: Client) -> None:
    push_blob(client, "team/app", b"")
    answer = client.get(blob_path(b""))
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


def test_sha512(client: Client) -> None:
    digest = "sha512:" + hashlib.sha512(BLOB).hexdigest()
    assert client("PUT", f"{begin(client)}?digest={digest}", BLOB).status == 201
    assert client.get(f"/v2/team/app/blobs/{digest}").body == BLOB


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "sha256:short", "md5:" + "0" * 32, "nothing", ""])
def test_a_wrong_digest_leaves_nothing(client: Client, hub: Hub, digest: str) -> None:
    answer = client("PUT", f"{begin(client)}?digest={digest}", BLOB)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert list(hub.content.blobs.digests()) == []


def test_chunks_in_order(client: Client) -> None:
    location = begin(client)
    for start in range(0, len(BLOB), 4096):
        part = BLOB[start:start + 4096]
        answer = client("PATCH", location, part, Content_Range=f"{start}-{start + len(part) - 1}")
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{start + len(part) - 1}")
        location = answer.headers["Location"]
        status = client.get(location)
        assert (status.status, status.headers["Range"]) == (204, answer.headers["Range"])
    assert client("PUT", f"{location}?digest={sha256(BLOB)}").status == 201
    assert client.get(blob_path()).body == BLOB


@pytest.mark.parametrize("content_range", ["100-199", "0-99", "9-8", "nonsense", "0-98", "bytes 5-7/9"])
def test_chunks_out_of_order_are_refused_with_the_position(client: Client, content_range: str) -> None:
    location = begin(client)
    assert client("PATCH", location, BLOB[:50], Content_Range="0-49").status == 202
    answer = client("PATCH", location, BLOB[:100], Content_Range=content_range)
    assert (answer.status, answer.headers["Range"]) == (416, "0-49")
    assert answer.headers["Location"] == location
    answer = client("PUT", f"{location}?digest={sha256(BLOB)}", BLOB[50:], Content_Range=f"50-{len(BLOB) - 1}")
    assert answer.status == 201


def test_a_stream_of_unknown_length(client: Client) -> None:
    location = begin(client)
    assert client("PATCH", location, iter([BLOB[:1000], BLOB[1000:]])).status == 202
    assert client("PUT", f"{location}?digest={sha256(BLOB)}").status == 201


def test_an_upload_that_broke_off_goes_on(client: Client) -> None:
    blob = os.urandom(5 << 20)
    location = begin(client)
    with socket.create_connection(("127.0.0.1", int(client.host.rpartition(":")[2]))) as raw:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(blob)}\r\n\r\n"
        raw.sendall(head.encode() + blob[:3 << 20])
    got = 0
    while got < 3 << 20:  # the server may still be writing what it has received
        got = int(client.get(location).headers["Range"].split("-")[1]) + 1
    answer = client("PATCH", location, blob[got:], Content_Range=f"{got}-{len(blob) - 1}")
    assert answer.status == 202
    assert client("PUT", f"{location}?digest={sha256(blob)}").status == 201
    assert client.get(blob_path(blob)).body == blob


def test_an_upload_belongs_to_its_repository(client: Client) -> None:
    location = begin(client).replace("team/app", "other")
    assert client("PATCH", location, BLOB).code == "BLOB_UPLOAD_UNKNOWN"
    assert client.get("/v2/team/app/blobs/uploads/..%2f..%2fhub.db").status == 404
    assert client.get(UPLOADS + "0" * 32).status == 404


def test_cancelling(client: Client, hub: Hub) -> None:
    location = begin(client)
    assert client("DELETE", location).status == 204
    assert client("PATCH", location, BLOB).status == 404
    assert list(hub.content.blobs.uploads()) == []


def test_mount(client: Client) -> None:
    push_blob(client, "base", BLOB)
    assert client("HEAD", blob_path()).status == 404
    query = f"?mount={sha256(BLOB)}&from="
    assert client("POST", UPLOADS + query + "nowhere", b"").status == 202
    assert client("POST", UPLOADS + query + "base", b"").status == 201
    assert client.get(blob_path()).body == BLOB


def test_delete(client: Client) -> None:
    push_blob(client, "team/app", BLOB)
    push_blob(client, "other", BLOB)
    assert client("DELETE", blob_path()).status == 202
    assert client.get(blob_path()).status == 404
    assert client.get(blob_path(name="other")).status == 200


@pytest.mark.parametrize(("header", "first", "end"), [
    ("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20), ("bytes=10000-", 10000, len(BLOB)),
    ("bytes=-5", len(BLOB) - 5, len(BLOB)), ("bytes=5-999999", 5, len(BLOB))])
def test_parts(client: Client, header: str, first: int, end: int) -> None:
    push_blob(client, "team/app", BLOB)
    answer = client.get(blob_path(), Range=header)
    assert (answer.status, answer.body) == (206, BLOB[first:end])
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(BLOB)}"


@pytest.mark.parametrize("header", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
def test_parts_outside(client: Client, header: str) -> None:
    push_blob(client, "team/app", BLOB)
    answer = client.get(blob_path(), Range=header)
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(BLOB)}")


@pytest.mark.parametrize("header", ["bytes=1-2,4-5", "items=1-2", "bytes=-"])
def test_ranges_of_another_kind_are_ignored(client: Client, header: str) -> None:
    push_blob(client, "team/app", BLOB)
    assert client.get(blob_path(), Range=header).status == 200


@pytest.mark.parametrize(("condition", "status"), [
    ("{etag}", 206), ('"sha256:another"', 200), ("W/{etag}", 200), ("Tue, 01 Jan 2030 00:00:00 GMT", 200)])
def test_a_part_only_of_what_the_client_has_begun(client: Client, condition: str, status: int) -> None:
    """If-Range is compared strongly, and no date was ever told (RFC 9110, 13.1.5)."""
    push_blob(client, "team/app", BLOB)
    etag = client.get(blob_path()).headers["ETag"]
    answer = client.get(blob_path(), Range="bytes=5-", If_Range=condition.format(etag=etag))
    assert (answer.status, answer.body) == (status, BLOB[5:] if status == 206 else BLOB)


@pytest.mark.parametrize(("header", "status"), [
    ("{etag}", 304), ('"x", {etag}', 304), ("W/{etag}", 304), ("*", 304), ('"x"', 200), ("{bare}", 200), ("", 200)])
def test_what_the_client_has_is_not_sent_again(client: Client, header: str, status: int) -> None:
    push_blob(client, "team/app", BLOB)
    etag = client.get(blob_path()).headers["ETag"]
    answer = client.get(blob_path(), If_None_Match=header.format(etag=etag, bare=etag.strip('"')))
    assert (answer.status, answer.body) == (status, b"" if status == 304 else BLOB)


@pytest.mark.parametrize("name", ["UPPER", "a//b", "a/", "-a", "a..b", "a" * 256, "a/.hidden", "a%2f..%2fc"])
def test_bad_names(client: Client, name: str) -> None:
    answer = client("POST", f"/v2/{name}/blobs/uploads/", b"")
    assert (answer.status, answer.code) == (400, "NAME_INVALID")


def test_names_that_look_like_paths(client: Client) -> None:
    for name in ("blobs/uploads", "a/manifests/b", "tags/list"):
        push_blob(client, name, BLOB)
        assert client.get(f"/v2/{name}/blobs/{sha256(BLOB)}").status == 200


def test_the_size_limit(start: Callable[..., Client]) -> None:
    client = start(max_blob=10_000)
    answer = client("POST", f"{UPLOADS}?digest={sha256(BLOB)}", BLOB)
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    answer = client("PATCH", begin(client), iter([BLOB[:6000], BLOB[6000:]]))
    assert answer.status == 413
    push_blob(client, "team/app", BLOB[:10_000])


def test_stale_uploads_are_swept(client: Client, hub: Hub) -> None:
    location = begin(client)
    client("PATCH", location, BLOB)
    assert hub.content.sweep_uploads(older_than=3600) == 0
    assert client.get(location).status == 204
    assert hub.content.sweep_uploads(older_than=-1) == 1
    assert client.get(location).status == 404


def test_large_blobs_and_many_at_once(client: Client) -> None:
    from concurrent.futures import ThreadPoolExecutor

    blob = os.urandom(20 << 20)
    push_blob(client, "team/app", blob)

    def fetch(_: int) -> Answer:
        return client.get(blob_path(blob))

    with ThreadPoolExecutor(4) as pool:
        assert all(answer.body == blob for answer in pool.map(fetch, range(4)))


def test_a_client_that_leaves_in_the_middle_harms_nobody(client: Client) -> None:
    blob = os.urandom(20 << 20)
    push_blob(client, "team/app", blob)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", int(client.host.rpartition(":")[2]))) as raw:
            raw.sendall(f"GET {blob_path(blob)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            raw.recv(1000)
    assert client.get(blob_path(blob)).body == blob
    assert client.get("/healthz").body == b"ok\n"
