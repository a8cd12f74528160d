"""Credentials and content in places that they weren't meant for: what opens one door must not open another."""

from __future__ import annotations

import gzip
import io
import json
import socket
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kist.hub.accounts import Accounts, Level
from kist.hub.app import open_hub
from kist.hub.config import HubConfig
from kist.hub.web import image as image_page
from unit.hub.images import MANIFEST, OCI, Image, descriptor, push_blob, put_manifest, sha256
from unit.hub.served import Client, serving
from unit.hub.test_hub_accounts import PASSWORD, accounts, basic

Start = Callable[..., Client]


@pytest.fixture
def secured(start: Start) -> Client:
    """A Hub with alice, who looks after the organisation acme, and mallory."""
    client = start(accounts=True)
    people = accounts(client)
    for name in ("alice", "mallory"):
        people.add_user(name, PASSWORD)
    people.add_organisation("acme")
    people.set_member("acme", "alice", Level.ADMIN)
    return client


def layer(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return out.getvalue()


# --- a token's level ----------------------------------------------------------------------------------------------


def _as(client: Client, people: Accounts, how: str) -> dict[str, str]:
    token = people.add_token(people.user("alice"), "ci", Level.READ if how != "everything" else Level.ADMIN)
    if how == "of the token server":
        token = client.get("/token?scope=repository:alice/app:pull", **basic("alice")).json["token"]
    return basic("alice", token) if how == "basic" else {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("how", ["basic", "bearer", "of the token server", "everything"])
@pytest.mark.parametrize(("path", "fields"), [
    ("/settings", {"act": "add-token", "label": "more", "level": "admin"}),
    ("/o/acme", {"user": "mallory", "level": "admin"})])
def test_a_token_makes_no_tokens_and_no_members(secured: Client, how: str, path: str, fields: dict[str, str]) -> None:
    people = accounts(secured)
    token = _as(secured, people, how)
    secured.form(path, {**fields, "csrf": ""}, Sec_Fetch_Site="same-origin", **token)
    assert [one.label for one in people.tokens(people.user("alice")) if one.label == "more"] == []
    assert people.members("acme") == {"alice": Level.ADMIN}
    assert secured.get(path, **token).status in (303, 404), "nor are they shown"


def test_signing_in_again_ends_the_session_before(secured: Client) -> None:
    def sign_in(cookie: str, token: str) -> str:
        answer = secured.form("/signin", {"name": "alice", "password": PASSWORD, "csrf": token}, Cookie=cookie,
                              Origin=secured.url)
        assert answer.status == 303
        return answer.headers["Set-Cookie"].partition(";")[0]

    first = sign_in("", "")
    page = secured.get("/signin", Cookie=first).body.decode()
    second = sign_in(first, page.partition('name="csrf" value="')[2].partition('"')[0])
    assert secured.get("/settings", Cookie=second).status == 200
    assert secured.get("/settings", Cookie=first).status == 303


@pytest.mark.parametrize("days", ["9" * 5000, "-1", "1e9", "٣"])
def test_days_that_are_no_number_of_days(secured: Client, days: str) -> None:
    people = accounts(secured)
    cookie = people.open_session(people.user("alice"))
    page = secured.get("/settings", Cookie=f"kist_session={cookie}").body.decode()
    csrf = page.partition('name="csrf" value="')[2].partition('"')[0]
    answer = secured.form("/settings", {"act": "add-token", "label": "x", "level": "read", "days": days, "csrf": csrf},
                          Cookie=f"kist_session={cookie}", Sec_Fetch_Site="same-origin")
    assert answer.status == 400
    assert people.tokens(people.user("alice")) == [], "not one without an end either"


# --- other people's blobs, by their digest ------------------------------------------------------------------------


@pytest.fixture
def secret(secured: Client) -> Image:
    """A private image of alice's; its digests are known to mallory."""
    found = Image([layer("the-secret-file")], json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["KEY=the-secret-key"]},
        "rootfs": {"type": "layers", "diff_ids": []}}).encode())
    found.push(secured, "alice/secret", "v1", **basic("alice"))
    secured.hub.metadata.describe("alice/secret", private=True)
    mine = {"Cookie": f"kist_session={accounts(secured).open_session(accounts(secured).user('alice'))}"}
    page = secured.get("/r/alice/secret/-/image/v1/layer/0", **mine)
    assert b"the-secret-file" in page.body, "its listing is kept now"
    return found


def test_a_layer_that_lies_elsewhere_shows_nobody_elses_files(secured: Client, secret: Image) -> None:
    """Foreign layers need not be pushed, so anybody can name anybody's layer as one."""
    config = Image().config
    push_blob(secured, "mallory/app", config, **basic("mallory"))
    foreign = descriptor(secret.layers[0], OCI + "layer.nondistributable.v1.tar")
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [foreign],
                           "config": descriptor(config, OCI + "config.v1+json")}).encode()
    assert put_manifest(secured, "mallory/app", "v1", manifest, **basic("mallory")).status == 201
    for path in ("/r/mallory/app/-/image/v1", "/r/mallory/app/-/image/v1/layer/0"):
        answer = secured.get(path)
        assert answer.status == 200 and b"the-secret-file" not in answer.body
    assert secured.get(f"/v2/mallory/app/blobs/{sha256(secret.layers[0])}").status == 404


def test_what_an_upstream_names_is_taken_from_no_private_repository(tmp_path: Path, start: Start) -> None:
    """An upstream's manifests are anybody's: the digests in them prove nothing."""
    with serving(open_hub(HubConfig(data=tmp_path / "up", access_log=""))) as up:
        cache = start(accounts=True, upstreams={"up.example": {"host": up.host}})
        accounts(cache).add_user("alice", PASSWORD)
        inside, shown = Image([layer("the-secret-file")], b'{"architecture":"amd64","os":"the-secret-os","rootfs":'
                              b'{"type":"layers","diff_ids":[]}}'), Image([layer("for everybody")])
        inside.push(cache, "alice/secret", "v1", **basic("alice"))
        shown.push(cache, "alice/open", "v1", **basic("alice"))
        cache.hub.metadata.describe("alice/secret", private=True)
        _copy_without_blobs(up, inside, "lure", "v1")
        _copy_without_blobs(up, shown, "lure", "open")
        for tag, image, status in (("v1", inside, 503), ("open", shown, 200)):
            assert cache.get(f"/v2/up.example/lure/manifests/{tag}").status == 200
            page = cache.get(f"/r/up.example/lure/-/image/{tag}")
            assert b"secret" not in page.body, page.body
            for blob in (image.config, image.layers[0]):
                answer = cache.get(f"/v2/up.example/lure/blobs/{sha256(blob)}")
                assert answer.status == status, (tag, answer.status)
            assert b"secret" not in cache.get(f"/r/up.example/lure/-/image/{tag}").body


def _copy_without_blobs(client: Client, image: Image, name: str, tag: str) -> None:
    """A registry that doesn't look whether a manifest's blobs are there."""
    image.push(client, name, tag)
    for blob in (image.config, *image.layers):
        client("DELETE", f"/v2/{name}/blobs/{sha256(blob)}")


def test_the_caches_of_an_upstream_that_we_sign_in_to_are_named_to_users_only(tmp_path: Path, start: Start) -> None:
    with serving(open_hub(HubConfig(data=tmp_path / "up", access_log=""))) as up:
        Image().push(up, "inside/plan", "v1")
        cache = start(accounts=True, upstreams={"up.example": {"host": up.host, "username": "u", "password": "p"}})
        accounts(cache).add_user("alice", PASSWORD)
        assert cache.get("/v2/up.example/inside/plan/manifests/v1", **basic("alice")).status == 200
        for path in ("/", "/search", "/api/search?q=plan", "/v1/search?q=plan"):
            assert b"up.example/inside/plan" not in cache.get(path).body, path
            assert b"up.example/inside/plan" in cache.get(path, **basic("alice")).body, path


# --- too much of it -----------------------------------------------------------------------------------------------


def test_an_image_of_many_great_layers_is_shown_in_part(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_page, "MOST_FILES", 50)
    packed = gzip.compress(layer(*(f"f{number}" for number in range(20))))
    image = Image([packed])
    one = descriptor(packed, OCI + "layer.v1.tar+gzip")
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [one] * 300,
                           "config": descriptor(image.config, OCI + "config.v1+json")}).encode()
    image.push(client, "app", "small")
    assert put_manifest(client, "app", "great", manifest).status == 201
    page = client.get("/r/app/-/image/great").body.decode()
    assert page.count("+20") == 1 and page.count("~20") == 1 and page.count("not shown") == 298
    assert client.get("/r/app/-/image/great/layer/299").status == 200
    assert client.get("/r/app/-/differences?from=small&to=great").status == 200


def test_a_manifest_that_lies_about_a_size_is_refused(client: Client) -> None:
    image = Image([b"a layer"])
    for data in (image.config, *image.layers):
        push_blob(client, "app", data)
    body = json.loads(image.manifest)
    for where in (body["config"], body["layers"][0]):
        where["size"] += 1
        answer = put_manifest(client, "app", "v1", json.dumps(body).encode())
        assert (answer.status, answer.code) == (400, "MANIFEST_INVALID") and b"the size of" in answer.body
        where["size"] -= 1
    assert put_manifest(client, "app", "v1", json.dumps(body).encode()).status == 201


def test_referrers_of_great_size_come_in_pages(client: Client) -> None:
    subject = Image()
    subject.push(client, "app", "v1")
    digests = []
    for number in range(5):
        one = Image(more={"subject": subject.descriptor, "annotations": {"n": str(number), "pad": "x" * 1_500_000}})
        one.push(client, "app", one.digest)
        digests.append(one.digest)
    seen, path = [], f"/v2/app/referrers/{subject.digest}"
    while path:
        answer = client.get(path)
        assert len(answer.body) < 5 << 20
        seen += [one["digest"] for one in answer.json["manifests"]]
        path = answer.headers.get("Link", "").partition(">")[0].strip("<")
    assert seen == digests
    gone = client.get(f"/v2/app/referrers/{subject.digest}?last={sha256(b'gone')}").json["manifests"]
    assert [one["digest"] for one in gone] == digests[:2]


# --- immutable ----------------------------------------------------------------------------------------------------


def test_an_immutable_repository_keeps_its_blobs_too(client: Client) -> None:
    image = Image()
    image.push(client, "app", "v1")
    client.hub.metadata.describe("app", immutable=True)
    assert client("DELETE", f"/v2/app/blobs/{sha256(image.layers[0])}").status == 405
    assert client.get(f"/v2/app/blobs/{sha256(image.layers[0])}").status == 200


def test_of_those_who_race_for_a_new_immutable_tag_one_wins(client: Client) -> None:
    images = [Image(more={"annotations": {"n": str(number)}}) for number in range(8)]
    images[0].push(client, "app", "first")
    client.hub.metadata.describe("app", immutable=True)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda one: put_manifest(client, "app", "v1", one.manifest).status, images))
    assert sorted(statuses) == [201] + [403] * 7
    winner = images[statuses.index(201)]
    assert client.get("/v2/app/manifests/v1").body == winner.manifest


# --- names that lead here -------------------------------------------------------------------------------------------

BROWSER = {"User_Agent": "Mozilla/5.0 (X11; Linux x86_64)"}


@pytest.mark.parametrize(("host", "status"), [
    ("evil.example", 421), ("evil.example:5555", 421), ("127.0.0.1.evil.example", 421), ("hub.example.com", 200),
    ("127.0.0.1:5555", 200), ("[::1]:5555", 200), ("192.0.2.1", 200), ("localhost", 200), ("a.localhost:1", 200),
    ("", 421)])
def test_an_open_hub_is_no_other_sites_server(start: Start, host: str, status: int) -> None:
    client = start(url="https://hub.example.com")
    for path in ("/", "/v2/", "/v2/_catalog", "/api/search", "/static/hub.css"):
        assert client.get(path, Host=host, **BROWSER).status == status
    pushed = client("POST", f"/v2/app/blobs/uploads/?digest={sha256(b'x')}", b"x", Host=host, **BROWSER)
    assert pushed.status == (421 if status == 421 else 201)
    assert client.get("/v2/", Host=host or "x").status == 200, "docker may use any name that leads here"


def test_with_accounts_names_are_no_matter(secured: Client) -> None:
    assert secured.get("/", Host="any.example", **BROWSER).status == 200


# --- HTTP ---------------------------------------------------------------------------------------------------------


def test_a_body_with_two_lengths_is_refused_and_ends_the_connection(client: Client) -> None:
    """Whoever stands between could see another request's beginning than we do (RFC 9112, section 6.1)."""
    with socket.create_connection(("127.0.0.1", int(client.host.rpartition(":")[2])), timeout=20) as raw:
        raw.sendall(b"POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while data := raw.recv(4096):
            got += data
    assert got.startswith(b"HTTP/1.1 400 ") and got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("host", ["[::1", "a b", "a/b", "me@a", "[x]:5", "a?b", "a#b"])
def test_a_host_that_is_none_is_refused(secured: Client, host: str) -> None:
    for path in ("/", "/v2/", "/signin"):
        assert secured.get(path, Host=host).status == 400


@pytest.mark.parametrize("origin", ["http://[", "null", "http://", "//x", "x", "https://evil.example"])
def test_an_origin_that_is_not_ours_sends_no_form(secured: Client, origin: str) -> None:
    fields = {"name": "alice", "password": PASSWORD, "csrf": ""}
    assert secured.form("/signin", fields, Origin=origin).status == 403
    assert secured.form("/signin", fields, Origin=secured.url).status == 303


def test_no_browser_takes_a_blob_for_a_page(client: Client) -> None:
    page = b"<html><script>alert(1)</script></html>"
    push_blob(client, "app", page)
    answer = client.get(f"/v2/app/blobs/{sha256(page)}")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "application/octet-stream"
