"""The pages over HTTP: what they show, to whom, and that forms can't be sent by other sites."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from kist.hub import accounts as accounts_module
from kist.hub.access import AccountAccess
from kist.hub.accounts import Level
from unit.hub.images import INDEX, Image, index_of, push_blob, put_manifest, sha256
from unit.hub.served import Answer, Client
from unit.hub.test_hub_accounts import PASSWORD, accounts, basic


def tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def config(**more: Any) -> bytes:
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
                       "config": {"Cmd": ["sh"], "Env": ["A=1"]}, **more}).encode()


def page(client: Client, path: str, **headers: str) -> str:
    answer = client.get(path, **headers)
    assert answer.status == 200, answer.body[:2000]
    check_headers(answer)
    return answer.body.decode()


def check_headers(answer: Answer) -> None:
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    html = answer.body.decode()
    assert "style=" not in html  # the policy would not let it through
    assert "onclick=" not in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'aria-labelledby="([^"]+)"', html):
        assert target in ids


@pytest.fixture
def filled(client: Client) -> Client:
    history = [{"created_by": "/bin/sh -c #(nop) ADD rootfs /"}, {"created_by": "ENV A=1", "empty_layer": True},
               {"created_by": "RUN /bin/sh -c change # buildkit"}]
    Image([tar(etc__a=b"1" * 1000, etc__b=b"2" * 500), tar(etc__a=b"3" * 2000, **{"etc__.wh.b": b""})],
          config(history=history)).push(client, "team/app", "v1")
    Image([tar(etc__a=b"4")], config(config={"Cmd": ["sh"], "Env": ["A=2"]})).push(client, "team/app", "v2")
    client.hub.metadata.describe("team/app", summary="An <app>", description="# About\n<script>x</script>")
    return client


def test_front_search_and_repository(filled: Client) -> None:
    assert "team/app" in page(filled, "/")
    assert "An &lt;app&gt;" in page(filled, "/search?q=app")
    assert "Nothing found" in page(filled, "/search?q=zebra")
    html = page(filled, "/r/team/app")
    assert f"kist run {filled.host}/team/app:v2" in html
    assert "<h3>About</h3>" in html
    assert "<script>x" not in html
    assert "linux/amd64" in html
    assert "None yet." in html
    filled.get("/v2/team/app/manifests/v1")
    assert "<title>1 pull in 60 days" in page(filled, "/r/team/app")


def test_an_image(filled: Client) -> None:
    html = page(filled, "/r/team/app/-/image/v1")
    assert "ADD rootfs /" in html
    assert "RUN change" in html
    assert "/etc/a" in html  # wasted
    assert "1.5 kB" in html
    assert "Environment: A" in html
    layer = page(filled, "/r/team/app/-/image/v1/layer/1")
    assert "/etc/b" in layer
    assert ">removed<" in layer
    assert "/etc/a" not in page(filled, "/r/team/app/-/image/v1/layer/1?only=removed")


def test_differences(filled: Client) -> None:
    html = page(filled, "/r/team/app/-/differences?from=v1&to=v2")
    assert "/etc/a" in html
    assert "<code class=\"wrap\">1</code>" in html  # A=1 → 2


def test_platforms_of_an_index(filled: Client) -> None:
    one, two = Image([tar(x=b"1")], config()), Image([tar(x=b"2")], config(architecture="arm64"))
    for image in (one, two):
        image.push(filled, "multi", image.digest)
    put_manifest(filled, "multi", "all", index_of(one, two), INDEX)
    assert one.digest in page(filled, "/r/multi/-/image/all")
    platforms = [dict(image.descriptor, platform={"os": "linux", "architecture": arch})
                 for image, arch in ((one, "amd64"), (two, "arm64"))]
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": platforms}).encode()
    put_manifest(filled, "multi", "named", body, INDEX)
    assert "linux/amd64, linux/arm64" in page(filled, "/r/multi")
    assert two.digest in page(filled, "/r/multi/-/image/named?platform=linux/arm64")


def test_artifacts_and_layers_that_are_no_tars(filled: Client) -> None:
    Image([b"not a tar"], b"{}", more={"artifactType": "a/b"}).push(filled, "thing", "v1")
    assert "thing" in page(filled, "/r/thing")
    assert "files not shown" in page(filled, "/r/thing/-/image/v1")
    page(filled, "/r/thing/-/image/v1/layer/0")


@pytest.mark.parametrize("path", [
    "/r/nothing", "/r/team/app/-/image/zzz", "/r/team/app/-/image/v1/layer/9", "/r/team/app/-/image/v1/layer/x",
    "/r/team/app/-/differences?from=v1", "/r/team/app/-/other", "/nothing", "/r/", "/static/../hub.py",
    "/static/nothing", "/signin", "/settings", "/r/team/app/-/image/sha256:bad"])
def test_what_is_not_there(filled: Client, path: str) -> None:
    answer = filled.get(path)
    assert answer.status in (400, 404)
    check_headers(answer)
    assert b"Traceback" not in answer.body


def test_static_files(client: Client) -> None:
    for name, kind in (("hub.css", "text/css"), ("hub.js", "javascript"), ("kist.svg", "svg")):
        answer = client.get(f"/static/{name}")
        assert answer.status == 200
        assert kind in answer.headers["Content-Type"]


# --- search -----------------------------------------------------------------------------------------------------


def test_search_ranks_names_before_descriptions(client: Client) -> None:
    for name, summary in (("library/redis", "A store"), ("team/redis-exporter", "Numbers"),
                          ("team/cache", "Like Redis"), ("other", "Nothing")):
        Image().push(client, name, "v1")
        client.hub.metadata.describe(name, summary=summary)
    found = client.get("/v1/search?q=REDIS&n=2").json
    assert [one["name"] for one in found["results"]] == ["library/redis", "team/redis-exporter"]
    assert (found["num_results"], found["num_pages"], found["page"]) == (3, 2, 1)
    assert found["results"][0]["is_official"] is True
    assert [one["name"] for one in client.get("/v1/search?q=redis&n=2&page=2").json["results"]] == ["team/cache"]
    assert client.get("/api/search?q=redis+numbers").json["total"] == 1
    assert client.get("/api/search?q=100%25_").json["total"] == 0
    assert client.get("/v1/_ping").json == {"standalone": True}


# --- people ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def secured(start: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setitem(accounts_module._SCRYPT, "n", 16)
    client = start(accounts=True)
    for name in ("alice", "bob"):
        accounts(client).add_user(name, PASSWORD)
    Image().push(client, "alice/secret", "v1", **basic("alice"))
    client.hub.metadata.describe("alice/secret", private=True)
    return client


def signed_in(client: Client, name: str) -> dict[str, str]:
    answer = client.form("/signin", {"name": name, "password": PASSWORD, "next": "/settings"}, Origin=client.url)
    assert (answer.status, answer.headers["Location"]) == (303, "/settings")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    return {"Cookie": cookie.partition(";")[0], "Origin": client.url}


def token_of(client: Client, me: dict[str, str]) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page(client, "/settings", **me))
    assert found is not None
    return found.group(1)


def test_private_repositories_are_not_there_for_others(secured: Client) -> None:
    me, other = signed_in(secured, "alice"), signed_in(secured, "bob")
    for headers, status in ((me, 200), (other, 404), ({}, 404)):
        assert secured.get("/r/alice/secret", **headers).status == status
        assert secured.get("/r/alice/secret/-/image/v1", **headers).status == status
        assert ("alice/secret" in page(secured, "/search?q=secret", **headers)) is (status == 200)
        assert secured.get("/v1/search?q=secret", **headers).json["num_results"] == (1 if status == 200 else 0)


def test_wrong_passwords_and_signing_out(secured: Client) -> None:
    answer = secured.form("/signin", {"name": "alice", "password": "wrong"}, Origin=secured.url)
    assert answer.status == 401
    assert "not right" in answer.body.decode()
    me = signed_in(secured, "alice")
    assert secured.form("/signout", {"csrf": token_of(secured, me)}, **me).status == 303
    assert secured.get("/settings", **me).status == 303


def test_signing_in_leads_nowhere_else(secured: Client) -> None:
    for target in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:x"):
        answer = secured.form("/signin", {"name": "alice", "password": PASSWORD, "next": target}, Origin=secured.url)
        assert answer.headers["Location"] == "/"


def test_forms_of_other_sites_are_refused(secured: Client) -> None:
    me = signed_in(secured, "alice")
    fields = {"act": "add-token", "label": "x", "level": "admin", "csrf": token_of(secured, me)}
    cookie = {"Cookie": me["Cookie"]}
    assert secured.form("/settings", fields, **cookie, Origin="https://evil.example").status == 403
    assert secured.form("/settings", fields, **cookie).status == 403
    assert secured.form("/settings", fields, **me, Sec_Fetch_Site="cross-site").status == 403
    assert secured.form("/settings", {**fields, "csrf": "0" * 64}, **me).status == 403
    assert secured.form("/signin", {"name": "alice", "password": PASSWORD}, Origin="https://evil.example").status == 403


def test_a_session_cookie_opens_no_api(secured: Client) -> None:
    me = signed_in(secured, "alice")
    assert secured.get("/v2/alice/secret/manifests/v1", **me).status == 401


def test_tokens_and_password_in_the_settings(secured: Client) -> None:
    me = signed_in(secured, "alice")
    csrf = {"csrf": token_of(secured, me)}
    html = secured.form("/settings", {**csrf, "act": "add-token", "label": "ci", "level": "read", "days": "30"},
                        **me).body.decode()
    secret = re.search(r"kist_[0-9a-f]{12}_[\w-]{43}", html)
    assert secret is not None
    people = accounts(secured)
    assert people.by_token(secret.group()) is not None
    assert secret.group() not in page(secured, "/settings", **me)
    number = people.tokens(people.user("alice"))[0].id
    secured.form("/settings", {**csrf, "act": "remove-token", "id": number}, **me)
    assert people.by_token(secret.group()) is None
    bad = secured.form("/settings", {**csrf, "act": "password", "old": "wrong", "new": "another password"}, **me)
    assert (bad.status, b"not right" in bad.body) == (400, True)
    short = secured.form("/settings", {**csrf, "act": "password", "old": PASSWORD, "new": "short"}, **me)
    assert b"at least 10" in short.body
    done = secured.form("/settings", {**csrf, "act": "password", "old": PASSWORD, "new": "another password"}, **me)
    assert done.status == 200
    assert people.sign_in("alice", "another password") is not None
    assert secured.get("/settings", **me).status == 303  # all sessions ended


def test_a_repository_is_changed_by_its_owner_only(secured: Client) -> None:
    access = secured.hub.access
    assert isinstance(access, AccountAccess)
    access.accounts.grant("alice/secret", "bob", Level.WRITE)
    owner, writer = signed_in(secured, "alice"), signed_in(secured, "bob")
    assert secured.get("/r/alice/secret/-/settings", **writer).status == 403
    page(secured, "/r/alice/secret/-/settings", **owner)
    fields = {"csrf": token_of(secured, owner), "summary": "  Two\nwords ", "description": "*text*", "immutable": "on"}
    assert secured.form("/r/alice/secret/-/settings", fields, **writer).status == 403
    assert secured.form("/r/alice/secret/-/settings", fields, **owner).status == 303
    found = secured.hub.metadata.repository("alice/secret")
    assert found is not None
    assert (found.summary, found.description, found.private, found.immutable) == ("Two words", "*text*", False, True)


def test_giving_access_to_a_repository(secured: Client) -> None:
    me = signed_in(secured, "alice")
    csrf = {"csrf": token_of(secured, me)}
    path, people = "/r/alice/secret/-/settings", accounts(secured)
    assert secured.form(path, {**csrf, "user": "bob", "level": "read"}, **me).status == 303
    assert people.grants("alice/secret") == {"bob": Level.READ}
    assert "Remove bob" in page(secured, path, **me)
    assert secured.form(path, {**csrf, "user": "nobody", "level": "read"}, **me).status == 400
    assert secured.form(path, {**csrf, "user": "bob", "level": "king"}, **me).status == 400
    assert secured.form(path, {**csrf, "user": "bob", "level": "none"}, **me).status == 303
    assert people.grants("alice/secret") == {}


def test_an_organisations_members_are_changed_by_those_who_look_after_it(secured: Client) -> None:
    people = accounts(secured)
    people.add_organisation("acme")
    people.set_member("acme", "alice", Level.ADMIN)
    people.set_member("acme", "bob", Level.WRITE)
    me, other = signed_in(secured, "alice"), signed_in(secured, "bob")
    assert 'href="/o/acme"' in page(secured, "/settings", **me)
    assert "Remove bob" in page(secured, "/o/acme", **me)
    for who in (other, {}):
        assert secured.get("/o/acme", **who).status == 404
    assert secured.get("/o/nothing", **me).status == 404
    csrf = {"csrf": token_of(secured, me)}
    assert secured.form("/o/acme", {**csrf, "user": "bob", "level": "read"}, **me).status == 303
    assert people.members("acme")["bob"] is Level.READ
    assert secured.form("/o/acme", {"csrf": token_of(secured, other), "user": "bob", "level": "admin"},
                        **other).status == 404
    assert secured.form("/o/acme", {**csrf, "user": "nobody", "level": "read"}, **me).status == 400


# --- what is attached to an image ------------------------------------------------------------------------------


def _attach(client: Client, name: str, image: Image, title: str | None = None, **headers: str) -> str:
    """The digest of a bill of materials that refers to the image."""
    document = b'{"spdxVersion": "SPDX-2.3", "x": "<script>alert(1)</script>"}'
    bill = Image([document], b"{}")
    manifest = json.loads(bill.manifest) | {"artifactType": "application/spdx+json", "subject": image.descriptor}
    manifest["config"]["mediaType"] = "application/vnd.oci.empty.v1+json"
    manifest["layers"][0] |= {"mediaType": "application/spdx+json"}
    if title is not None:
        manifest["layers"][0]["annotations"] = {"org.opencontainers.image.title": title}
    for blob in (document, b"{}"):
        push_blob(client, name, blob, **headers)
    body = json.dumps(manifest).encode()
    answer = put_manifest(client, name, sha256(body), body, **headers)
    assert answer.status == 201 and answer.headers["OCI-Subject"] == image.digest
    return sha256(body)


def test_a_bill_of_materials_is_on_the_images_page_and_can_be_downloaded(client: Client) -> None:
    image = Image([tar(a=b"1")], config())
    image.push(client, "team/app", "v1")
    assert "Attached" not in page(client, "/r/team/app/-/image/v1")
    digest = _attach(client, "team/app", image)
    html = page(client, "/r/team/app/-/image/v1")
    assert "Bill of materials (SPDX)" in html
    link = re.findall(r'href="(/r/team/app/-/attached/[^"]+)"', html)
    assert link == [f"/r/team/app/-/attached/{digest}/0"]
    answer = client.get(link[0])
    assert answer.status == 200 and json.loads(answer.body)["spdxVersion"] == "SPDX-2.3"
    # What others have written is never a page of ours.
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''app-")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_hostile_title_is_a_name_and_nothing_else(client: Client) -> None:
    image = Image([tar(a=b"1")], config())
    image.push(client, "app", "v1")
    digest = _attach(client, "app", image, '../../\\x"><script>\r\nX: y')
    html = page(client, "/r/app/-/image/v1")
    assert "<script>\r" not in html and "&lt;script&gt;" in html
    answer = client.get(f"/r/app/-/attached/{digest}/0")
    assert answer.status == 200 and "X" not in answer.headers
    assert "%22%3E%3Cscript%3E%0D%0AX%3A%20y" in answer.headers["Content-Disposition"]


def test_only_what_is_attached_can_be_downloaded_and_only_by_readers(start: Callable[..., Client]) -> None:
    client = start(accounts=True, private=True)
    accounts(client).add_user("alice", PASSWORD)
    image = Image([tar(a=b"1")], config())
    image.push(client, "alice/app", "v1", **basic("alice"))
    digest = _attach(client, "alice/app", image, **basic("alice"))
    assert client.get(f"/r/alice/app/-/attached/{digest}/0").status == 404
    assert client.get(f"/r/alice/app/-/attached/{digest}/0", **basic("alice")).status == 200
    for wrong in (f"{image.digest}/0", f"{digest}/1", f"{digest}/-1", f"{digest}/x", f"{sha256(b'x')}/0"):
        assert client.get(f"/r/alice/app/-/attached/{wrong}", **basic("alice")).status == 404, wrong
