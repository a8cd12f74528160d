"""The pages and people with bad intent: forged forms, planted links, names that deceive, tokens for passwords."""

from __future__ import annotations

import io
import json
import re
import tarfile
from urllib.parse import urljoin, urlsplit

import pytest

from kist.hub.accounts import Level
from kist.hub.web.render import plain
from unit.hub.images import CONFIG, INDEX, OCI, Image, descriptor, push_blob, put_manifest, sha256
from unit.hub.served import Client
from unit.hub.test_hub_accounts import PASSWORD, accounts, basic
from unit.hub.test_hub_pages import config, page, secured, signed_in, tar, token_of

__all__ = ["secured"]  # a fixture

# --- forms --------------------------------------------------------------------------------------------------------

FORMS = {
    "/settings": {"act": "add-token", "label": "stolen", "level": "admin"},
    "/settings?password": {"act": "password", "old": PASSWORD, "new": "theirs from now on"},
    "/o/acme": {"user": "bob", "level": "admin"},
    "/r/alice/secret/-/settings": {"summary": "theirs", "description": "theirs"},
    "/r/alice/secret/-/settings?grant": {"user": "bob", "level": "admin"},
    "/signout": {},
}


@pytest.mark.parametrize("path", FORMS)
def test_no_form_is_taken_that_our_own_page_did_not_send(secured: Client, path: str) -> None:
    people = accounts(secured)
    people.add_organisation("acme")
    people.set_member("acme", "alice", Level.ADMIN)
    me, other = signed_in(secured, "alice"), signed_in(secured, "bob")
    own, cookie = token_of(secured, me), {"Cookie": me["Cookie"]}
    forged: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, me),
        ({"csrf": ""}, me),
        ({"csrf": "0" * 64}, me),
        ({"csrf": token_of(secured, other)}, me),
        ({"csrf": own}, cookie),
        ({"csrf": own}, {**cookie, "Origin": "null"}),
        ({"csrf": own}, {**cookie, "Origin": secured.url + ".evil.example"}),
        ({"csrf": own}, {**me, "Sec_Fetch_Site": "same-site"}),
        ({"csrf": own}, {**me, "Sec_Fetch_Site": "cross-site"}),
    ]
    for fields, headers in forged:
        assert secured.form(path, {**FORMS[path], **fields}, **headers).status == 403, (fields, headers)
        assert secured.get(path, **headers).status in (200, 405), "a link does nothing"
    assert people.tokens(people.user("alice")) == [] and people.members("acme") == {"alice": Level.ADMIN}
    found = secured.hub.metadata.repository("alice/secret")
    assert found is not None and found.private and not found.summary and people.grants("alice/secret") == {}
    assert people.sign_in("alice", PASSWORD) is not None and secured.get("/settings", **me).status == 200
    assert secured.form(path, {**FORMS[path], "csrf": own}, **me).status in (200, 303), "and our own is taken"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "https:evil.example",
        "/%0d%0aX: y",
        "/\r\nSet-Cookie: kist_session=planted",
        "@evil.example",
        ".evil.example",
        "/./\\evil.example",
    ],
)
def test_signing_in_leads_to_no_other_site_and_into_no_header(secured: Client, target: str) -> None:
    for way in ({"next": target}, {}):
        query = "" if way else "?next=" + "".join(f"%{byte:02x}" for byte in target.encode())
        answer = secured.form("/signin" + query, {"name": "alice", "password": PASSWORD, **way}, Origin=secured.url)
        assert answer.status == 303
        location = re.sub(r"[\t\r\n]", "", answer.headers["Location"]).replace("\\", "/")  # as browsers read it
        assert urlsplit(urljoin(secured.url + "/signin", location)).netloc == secured.host, location
        assert "X" not in answer.headers and "planted" not in answer.headers["Set-Cookie"]


# --- passwords and tokens -----------------------------------------------------------------------------------------


def test_no_access_token_opens_the_pages_or_changes_the_password(secured: Client) -> None:
    people = accounts(secured)
    token = people.add_token(people.user("alice"), "everything", Level.ADMIN)
    answer = secured.form("/signin", {"name": "alice", "password": token}, Origin=secured.url)
    assert answer.status == 401 and b"for docker login" in answer.body and "Set-Cookie" not in answer.headers
    me = signed_in(secured, "alice")
    fields = {"csrf": token_of(secured, me), "act": "password", "old": token, "new": "from now on mine"}
    assert secured.form("/settings", fields, **me).status == 400
    assert people.sign_in("alice", PASSWORD) is not None


def test_wrong_passwords_come_to_an_end_on_the_pages_too(secured: Client) -> None:
    me = signed_in(secured, "alice")
    fields = {"csrf": token_of(secured, me), "act": "password", "old": "a guess", "new": "from now on mine"}
    answers = [secured.form("/settings", fields, **me) for _ in range(11)]
    assert [answer.status for answer in answers] == [400] * 11
    assert b"not right" in answers[9].body and b"Too many wrong passwords" in answers[10].body
    for password in ("a guess", PASSWORD):
        answer = secured.form("/signin", {"name": "alice", "password": password}, Origin=secured.url)
        assert (answer.status, answer.headers["Retry-After"]) == (429, "300")
        assert "Set-Cookie" not in answer.headers
    assert secured.get("/v2/", **basic("alice")).status == 429
    assert secured.get("/v2/", **basic("bob")).status == 200


# --- names --------------------------------------------------------------------------------------------------------


def test_what_cannot_be_seen_is_written_out() -> None:
    assert plain("a\nb\x1b[31m\u202egpj\u2066\x85") == "a\\nb\\x1b[31m\\u202egpj\\u2066\\x85"
    for harmless in ("Übergröße", "日本語", "ספרייה", "می‌خواهم", "👩‍👩‍👧", "e\u0301", "a b"):
        assert plain(harmless) == harmless


ODD = [
    "../../etc/passwd",
    "/absolute",
    "new\nline",
    "\u202egpj.exe",
    "<img src=x onerror=alert(1)>",
    "a" * 300,
    "'\"&",
    "\x1b[2J",
    "..",
    "{{ 7 * 7 }}",
    "\udcff\udcfe".encode("utf-8", "surrogateescape").decode("latin-1"),
]


def test_files_with_odd_names_are_shown_and_lead_nowhere(client: Client) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ODD:
            archive.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "\u202e../../../etc/shadow<b>"
        archive.addfile(link)
    commands = [{"created_by": "RUN \x1b[31m<script>\u202e</script>"}]
    Image([buffer.getvalue()], config(history=commands, config={"Labels": {"<b>\u202e": "x\ny"}})).push(
        client, "app", "v1"
    )
    Image([tar(a=b"1")], config(config={"Labels": {"<b>\u202e": "z\u202e"}})).push(client, "app", "v2")
    for path in ("/r/app/-/image/v1", "/r/app/-/image/v1/layer/0", "/r/app/-/differences?from=v1&to=v2"):
        html = page(client, path)
        assert "\u202e" not in html and "\x1b" not in html and "\\u202e" in html, path
        assert "<img src=x" not in html and "<script>\\" not in html and "<b>" not in html
        assert "49" not in re.findall(r"<code[^>]*>([^<]*)</code>", html)
    files = page(client, "/r/app/-/image/v1/layer/0")
    for shown in ("/etc/passwd<", "/new\\nline", "/\\u202egpj.exe", "/{{ 7 * 7 }}"):
        assert shown in files
    assert not re.search(r'href="[^"]*(etc|shadow|gpj)', files), "no file is a link"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../templates/base.html",
        "/static/%2e%2e/render.py",
        "/static/..%2frender.py",
        "/static//etc/passwd",
        "/r/app/-/image/v1/layer/..%2f..%2f..%2fetc%2fpasswd",
        "/r/app/-/attached/..%2f..%2fhub.db/0",
        "/r/../../etc/passwd",
        "/r/app/-/image/..%2f..%2fhub.db",
        "/v2/..%2f..%2fetc/manifests/passwd",
        "/v2/app/blobs/..%2fhub.db",
        "/v2/app/blobs/uploads/..%2f..%2fhub.db",
        "/o/..%2f..",
        "/r/app%0d%0aX:%20y",
        "/v2/app%0d%0aX:%20y/tags/list",
    ],
)
def test_no_path_leads_out(client: Client, path: str) -> None:
    Image([tar(a=b"1")], config()).push(client, "app", "v1")
    answer = client.get(path)
    assert answer.status in (400, 401, 404, 405), answer.body[:200]
    assert b"root:" not in answer.body and b"SQLite" not in answer.body and b"{% " not in answer.body
    assert "X" not in answer.headers


# --- what a Hub of many images meets ------------------------------------------------------------------------------


def test_latest_comes_first_and_tags_are_found_by_a_part_of_their_name(client: Client) -> None:
    image = Image([tar(a=b"1")], config())
    image.push(client, "app", "latest")
    for number in range(120):
        client.hub.content.put_manifest("app", f"1.{number}", image.manifest, OCI + "manifest.v1+json")
    first = page(client, "/r/app")
    names = re.findall(r'-/image/([^"/]+)"', first)
    assert names[:3] == ["latest", "1.0", "1.1"] and f"kist run {client.host}/app<" in first
    more = re.search(r'rel="next" href="([^"]+)"', first)
    assert more is not None
    assert re.findall(r'-/image/([^"/]+)"', page(client, "/r/app" + more.group(1)))[0] > names[-1]
    Image([tar(a=b"2")], config()).push(client, "app", "1.1")
    assert "<option selected>1.1</option>" in page(client, "/r/app"), "what is compared first is not the same image"
    found = page(client, "/r/app?tag=1.11")
    assert re.findall(r'-/image/([^"/]+)"', found) == ["1.11", *(f"1.11{last}" for last in range(10))]
    assert "No tag has “&lt;b&gt;”" in page(client, "/r/app?tag=<b>")


def test_artifacts_are_pulled_by_what_pulls_artifacts_and_what_has_no_tag_by_nothing(client: Client) -> None:
    chart = {
        "artifactType": "application/vnd.example.chart",
        "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
    }
    Image([b"chart"], b"{}", more=chart).push(client, "chart", "1.0")
    assert f"oras pull {client.host}/chart:1.0<" in page(client, "/r/chart")
    image = Image([tar(a=b"1")], config())
    image.push(client, "untagged", image.digest)
    assert "kist run" not in page(client, "/r/untagged")


def test_attestations_in_an_index_are_no_platforms_but_attached(client: Client) -> None:
    image, other = Image([tar(a=b"1")], config()), Image([tar(a=b"2")], config(architecture="arm64"))
    statement = b'{"_type": "https://in-toto.io/Statement/v1"}'
    proof = Image([statement], CONFIG.replace(b"linux", b"unknown").replace(b"amd64", b"unknown"))
    body = json.loads(proof.manifest)
    body["layers"][0]["mediaType"] = "application/vnd.in-toto+json"
    proof_bytes = json.dumps(body).encode()
    for one in (image, other):
        one.push(client, "app", one.digest)
    for blob in (proof.config, statement):
        push_blob(client, "app", blob)
    assert put_manifest(client, "app", sha256(proof_bytes), proof_bytes).status == 201
    entries = [
        dict(one.descriptor, platform={"os": "linux", "architecture": name})
        for one, name in ((image, "amd64"), (other, "arm64"))
    ]
    entries.insert(
        1,
        descriptor(
            proof_bytes,
            OCI + "manifest.v1+json",
            platform={"os": "unknown", "architecture": "unknown"},
            annotations={
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image.digest,
            },
        ),
    )
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    assert put_manifest(client, "app", "v1", index, INDEX).status == 201
    assert "linux/amd64, linux/arm64" in page(client, "/r/app")
    shown = page(client, "/r/app/-/image/v1")
    assert "unknown/unknown" not in shown and "Attestation (in-toto)" in shown
    link = re.search(r'href="(/r/app/-/attached/[^"]+)"', shown)
    assert link is not None and client.get(link.group(1)).body == statement
    assert "Attestation" not in page(client, "/r/app/-/image/v1?platform=linux/arm64"), "it is of the other"
    signature = json.dumps(
        {
            **json.loads(Image([b"one layer"]).manifest),
            "subject": descriptor(index, INDEX),
            "artifactType": "application/vnd.cncf.notary.signature",
        }
    ).encode()
    for blob in (CONFIG, b"one layer"):
        push_blob(client, "app", blob)
    assert put_manifest(client, "app", sha256(signature), signature).status == 201
    assert "Signature (Notary)" in page(client, "/r/app/-/image/v1"), "what signs the index is shown with its images"


def test_what_breaks_here_is_said_to_be_ours(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    Image([tar(a=b"1")], config()).push(client, "app", "v1")
    layer = json.loads(client.get("/v2/app/manifests/v1").body)["layers"][0]["digest"]
    client.hub.metadata.keep_listing(layer, b"what a bad disk has left of it")
    answer = client.get("/r/app/-/image/v1")
    assert answer.status == 500 and b"our fault" in answer.body and b"Traceback" not in answer.body
    assert "/r/app/-/image/v1" in caplog.text


def test_an_api_that_breaks_answers_as_the_registry_it_is(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.hub.content.metadata, "tags", lambda *_: 1 / 0)
    answer = client.get("/v2/app/tags/list")
    assert answer.status in (404, 500)
    Image([tar(a=b"1")], config()).push(client, "app", "v1")
    answer = client.get("/v2/app/tags/list")
    assert (answer.status, answer.code) == (500, "UNKNOWN")
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0" and b"division" not in answer.body
