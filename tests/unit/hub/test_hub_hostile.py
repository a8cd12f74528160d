"""Requests that mean harm: none may break the Hub, get at what is not theirs, or put anything into a page."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest

from kist.hub.web import markdown
from unit.hub.images import INDEX, MANIFEST, Image, descriptor, push_blob, put_manifest, sha256
from unit.hub.served import Client
from unit.hub.test_hub_accounts import PASSWORD, accounts, basic

SQL = ["' OR 1=1 --", "'; DROP TABLE repositories; --", "%", "_", "\\", "\x00", "\u2028", "a" * 5000, "ı", "😀" * 500]
HTML = ['"><script>alert(1)</script>', "<img src=x onerror=alert(1)>", "{{7*7}}", "javascript:alert(1)"]
PATHS = ["..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "....//", "%00", "%ff%fe", "con", "/" * 200, "a/" * 300]


@pytest.fixture
def filled(client: Client, caplog: pytest.LogCaptureFixture) -> Client:
    caplog.set_level(logging.ERROR)
    Image().push(client, "app", "v1")
    return client


def unharmed(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/v2/app/tags/list").json["tags"] == ["v1"]
    assert client.get("/healthz").status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text


@pytest.mark.parametrize("text", SQL + HTML)
def test_texts_in_queries(filled: Client, caplog: pytest.LogCaptureFixture, text: str) -> None:
    value = quote(text)
    for path in ("/search?q=", "/search?order=pulls&page=", "/v1/search?q=", "/v1/search?n=", "/api/search?q=",
                 "/v2/_catalog?last=", "/v2/_catalog?n=", "/v2/app/tags/list?last=", "/r/app?last=",
                 f"/v2/app/referrers/{sha256(b'x')}?artifactType=", "/r/app/-/image/v1?platform=",
                 "/r/app/-/image/v1/layer/0?only=", "/r/app/-/differences?from=v1&to=", "/signin?next=",
                 "/token?scope="):
        answer = filled.get(path + value)
        assert answer.status < 500, (path, answer.body[:500])
        if answer.headers["Content-Type"].startswith("text/html"):
            assert text not in answer.body.decode() or text not in HTML[:2], path
    unharmed(filled, caplog)


@pytest.mark.parametrize("path", PATHS + [quote(text) for text in HTML])
def test_texts_in_paths(filled: Client, caplog: pytest.LogCaptureFixture, path: str) -> None:
    for place in ("/{}", "/static/{}", "/r/{}", "/r/app/-/image/{}", "/r/app/-/attached/{}/0", "/o/{}",
                  "/v2/{}/tags/list", "/v2/app/manifests/{}", "/v2/app/blobs/{}", "/v2/app/blobs/uploads/{}"):
        answer = filled.get(place.format(path))
        assert 300 <= answer.status < 500 or answer.body == filled.get("/").body, (place, answer.status)
        assert b"root:x:0" not in answer.body
        assert b"<script>alert" not in answer.body or not answer.headers["Content-Type"].startswith("text/html")
    unharmed(filled, caplog)


DEEP = 200_000
BODIES = [b"[" * DEEP, b'{"a":' * DEEP, b"{}", b"null", b"[]", b"\xff\xfe", b'{"schemaVersion": 1e999}', b"\x00" * 1000,
          json.dumps({"schemaVersion": 2, "config": {}, "layers": [{}] * 1000}).encode(),
          json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": "x"}).encode(),
          json.dumps({"schemaVersion": 2, "config": {"mediaType": "x", "digest": "sha256:../../x", "size": 1},
                      "layers": []}).encode(),
          json.dumps({"schemaVersion": 2, "config": {"mediaType": "x", "digest": sha256(b"x"), "size": -1},
                      "layers": []}).encode()]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("kind", [MANIFEST, INDEX, "text/html", "x" * 3000])
def test_bodies_that_are_no_manifests(
        filled: Client, caplog: pytest.LogCaptureFixture, body: bytes, kind: str) -> None:
    answer = put_manifest(filled, "app", "bad", body, kind)
    assert 400 <= answer.status < 500, answer.body[:500]
    unharmed(filled, caplog)


def test_a_configuration_that_is_none_and_names_from_hell_are_shown_harmlessly(
        filled: Client, caplog: pytest.LogCaptureFixture) -> None:
    evil = '"><script>alert(1)</script>'
    config = json.dumps({"architecture": evil, "os": evil, "rootfs": {"type": "layers", "diff_ids": []}, "config": {
        "Cmd": [evil], "Env": [evil, f"A={evil}"], "Labels": {evil: evil}, "User": evil},
        "history": [{"created_by": evil, "created": evil}]}).encode()
    Image([b"no tar"], config).push(filled, "evil", "v1")
    deep = Image([b"no tar"], b"[" * 100_000)
    deep.push(filled, "evil", "deep")
    for path in ("/r/evil", "/r/evil/-/image/v1", "/r/evil/-/image/deep", "/r/evil/-/image/v1/layer/0",
                 "/r/evil/-/differences?from=v1&to=deep", "/search?q=evil"):
        answer = filled.get(path)
        assert answer.status < 500 and b"<script>alert" not in answer.body, (path, answer.body[:500])
    unharmed(filled, caplog)


@pytest.mark.parametrize("text", [
    "<script>x</script>", "<img src=x onerror=x>", "[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))",
    "![a](javascript:alert(1))", "[a](data:text/html,<script>x</script>)", "<a href=\"javascript:x\">a</a>",
    "[a](vbscript:x)", "<javascript:alert(1)>", "[a](&#x6A;avascript:alert(1))", "`<script>x</script>`"])
def test_descriptions_run_nothing(text: str) -> None:
    html = str(markdown.render(text)).lower()
    assert "<script" not in html and "<img" not in html.replace("<img src=\"data:image", "")
    assert "href=\"javascript" not in html and "href=\"data:" not in html and "href=\"vbscript" not in html


def test_a_description_of_brackets_comes_to_an_end() -> None:
    for text in ("[" * 50_000, "*a " * 50_000, "> " * 20_000, "`" * 50_000, "|" * 50_000, "<" * 50_000):
        assert len(str(markdown.render(text))) < 100 * len(text)
    assert markdown.render("[" * 10_000_000) == markdown.render("[" * (64 << 10)), "is not read further than this"


def test_an_index_that_names_itself_or_a_circle_is_shown(filled: Client, caplog: pytest.LogCaptureFixture) -> None:
    child = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    assert put_manifest(filled, "deep", "t0", child, INDEX).status == 201
    for number in range(1, 30):
        child = json.dumps({"schemaVersion": 2, "mediaType": INDEX,
                            "manifests": [descriptor(child, INDEX)] * 30}).encode()
        assert put_manifest(filled, "deep", f"t{number}", child, INDEX).status == 201
    for path in ("/r/deep", "/r/deep/-/image/t29", "/r/deep/-/differences?from=t0&to=t29"):
        assert filled.get(path).status < 500
    unharmed(filled, caplog)


# --- accounts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def secured(start: Callable[..., Client]) -> Client:
    client = start(accounts=True, private=True)
    for name in ("alice", "mallory"):
        accounts(client).add_user(name, PASSWORD)
    return client


def test_a_token_for_one_repository_opens_no_other_and_dies(secured: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image()
    image.push(secured, "alice/app", "v1", **basic("alice"))
    scope = "repository:alice/app:pull,push,delete repository:mallory/own:pull,push"
    token = secured.get(f"/token?scope={quote(scope)}", **basic("mallory")).json["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert secured.get("/v2/alice/app/manifests/v1", **bearer).status in (401, 404)
    assert secured("DELETE", f"/v2/alice/app/manifests/{image.digest}", None, **bearer).status in (401, 404)
    push_blob(secured, "mallory/own", b"x", **bearer)
    head, claims, signature = token.split(".")
    for forged in (f"{head}.{claims}.", f"{head}.{claims}.{signature[::-1]}", f"..{signature}",
                   f"{head}.e30.{signature}", "eyJhbGciOiJub25lIn0." + claims + "."):
        assert secured.get("/v2/mallory/own/tags/list", Authorization=f"Bearer {forged}").status == 401
    later = time.time() + 3600
    monkeypatch.setattr(secured.hub.access, "_clock", lambda: later)
    assert secured.get(f"/v2/mallory/own/blobs/{sha256(b'x')}", **bearer).status == 401, "replayed too late"


def test_signing_in_gives_a_new_session_whatever_cookie_came(secured: Client) -> None:
    planted = "kist_session=planted-by-somebody-else"
    answer = secured.form("/signin", {"name": "alice", "password": PASSWORD, "csrf": "", "next": "/"}, Cookie=planted,
                          Origin=secured.url)
    given = answer.headers.get("Set-Cookie", "")
    assert answer.status in (303, 403)
    if answer.status == 303:
        assert "planted" not in given and "HttpOnly" in given and "SameSite=lax" in given
    assert secured.get("/settings", Cookie=planted).status == 303


def test_giant_passwords_and_names_are_wrong_ones(secured: Client) -> None:
    for _ in range(5):
        answer = secured.form("/signin", {"name": "a" * 100_000, "password": "x" * 300_000, "csrf": ""},
                              Origin=secured.url)
        assert 400 <= answer.status < 500
    big = secured.form("/signin", {"name": "a", "password": "x" * 600_000, "csrf": ""}, Origin=secured.url)
    assert big.status == 413
