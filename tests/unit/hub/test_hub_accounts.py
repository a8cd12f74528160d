"""Accounts, tokens, levels; and the registry behind them, with our client and with plain requests."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kist.errors import Conflict, InvalidParameter, KistError, NotFound
from kist.hub import accounts as accounts_module
from kist.hub import admin, bearer
from kist.hub.access import AccountAccess
from kist.hub.accounts import Accounts, Level, TooManyTries, User
from kist.hub.app import open_content
from kist.oci.platform import Platform
from kist.oci.reference import parse
from kist.registry.client import RegistryClient
from kist.registry.credentials import Credentials
from kist.registry.pull import ping, resolve
from kist.registry.push import Push
from kist.registry.settings import ClientConfig, Patience
from unit.hub.images import MANIFEST, Image, push_blob, sha256
from unit.hub.served import Client
from unit.hub.test_hub_with_our_client import blob, source_of

PASSWORD = "correct horse"
KEY = b"k" * 32


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def secured(start: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> Client:
    """A Hub with alice, bob, the admin root, and the organisation acme, in which bob writes."""
    monkeypatch.setitem(accounts_module._SCRYPT, "n", 16)  # the cost is not what is tested here
    client = start(accounts=True)
    people = accounts(client)
    for name in ("alice", "bob"):
        people.add_user(name, PASSWORD)
    people.add_user("root", PASSWORD, admin=True)
    people.add_organisation("acme")
    people.set_member("acme", "bob", Level.WRITE)
    return client


def accounts(client: Client) -> Accounts:
    access = client.hub.access
    assert isinstance(access, AccountAccess)
    return access.accounts


# --- bearer tokens ---------------------------------------------------------------------------------------


def test_a_signed_token_reads_as_it_was() -> None:
    claims = bearer.Claims("alice", 100.0, "WRITE", {"alice/app": frozenset({"pull", "push"})})
    assert bearer.read(bearer.sign(claims, KEY), KEY, 99.0) == claims


def test_a_token_that_is_over_or_of_another_key_or_changed() -> None:
    token = bearer.sign(bearer.Claims("alice", 100.0), KEY)
    assert bearer.read(token, KEY, 101.0) is None
    assert bearer.read(token, b"x" * 32, 99.0) is None
    head, body, mac = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    for wrong in (f"{none}.{body}.{mac}", f"{none}.{body}.", f"{head}.{body[:-2]}.{mac}", head, "", "a.b.c", "ä.b.c"):
        assert bearer.read(wrong, KEY, 99.0) is None


@given(st.text(max_size=100))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert bearer.read(text, KEY, 0.0) is None
    bearer.parse_scopes([text])


def test_scopes() -> None:
    assert bearer.parse_scopes(["repository:a/b:pull,push registry:catalog:*", "junk"]) == [
        bearer.Scope("repository", "a/b", frozenset({"pull", "push"})),
        bearer.Scope("registry", "catalog", frozenset({"*"}))]


# --- users ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Alice", "a b", "-a", "a-", "a" * 40, "library", "v2", "../x", "a.b"])
def test_bad_names(secured: Client, name: str) -> None:
    with pytest.raises(InvalidParameter):
        accounts(secured).add_user(name, PASSWORD)


def test_names_are_unique_among_users_and_organisations(secured: Client) -> None:
    people = accounts(secured)
    for add in (lambda: people.add_user("acme", PASSWORD), lambda: people.add_organisation("bob")):
        with pytest.raises(Conflict):
            add()
    with pytest.raises(InvalidParameter, match="at least 10"):
        accounts(secured).add_user("carol", "short")


def test_signing_in(secured: Client) -> None:
    people = accounts(secured)
    assert people.sign_in("alice", PASSWORD) == people.user("alice")
    assert people.sign_in("alice", "wrong") is None
    assert people.sign_in("nobody", PASSWORD) is None
    assert people.sign_in("alice", "x" * 5000) is None
    people.set_password("alice", "another password")
    assert people.sign_in("alice", PASSWORD) is None
    assert people.sign_in("alice", "another password") is not None
    people.remove_user("alice")
    assert people.sign_in("alice", "another password") is None


def test_wrong_passwords_run_out_of_tries(secured: Client) -> None:
    people = accounts(secured)
    for _ in range(accounts_module.TRIES):
        assert people.sign_in("alice", "wrong", "10.0.0.1") is None
    with pytest.raises(TooManyTries):
        people.sign_in("alice", PASSWORD, "10.0.0.1")
    assert people.sign_in("alice", PASSWORD, "10.0.0.2") is not None


def test_one_address_runs_out_of_names_too(secured: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "TRIES_OF_ADDRESS", 15)
    people = accounts(secured)
    for number in range(15):
        assert people.sign_in(f"name{number}", "one password", "192.0.2.1") is None
    with pytest.raises(accounts_module.TooManyTries):
        people.sign_in("alice", PASSWORD, "192.0.2.1")
    user = people.sign_in("alice", PASSWORD, "192.0.2.2")
    assert user is not None and user.name == "alice"
    for number in range(15):
        people.sign_in(f"name{number}", "one password", f"2001:db8::{number:x}")
    with pytest.raises(accounts_module.TooManyTries):
        people.sign_in("alice", PASSWORD, "2001:db8::ffff")
    assert people.sign_in("alice", PASSWORD, "2001:db8:1::1") is not None


def test_names_without_end_make_no_room_for_more_tries(secured: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "MOST_REMEMBERED", 50)
    people = accounts(secured)
    for _ in range(accounts_module.TRIES):
        people.sign_in("alice", "wrong password", "192.0.2.1")
    for number in range(10):
        people.sign_in(f"x{number}", "wrong password", f"198.51.100.{number}")
    with pytest.raises(accounts_module.TooManyTries):
        people.sign_in("alice", PASSWORD, "192.0.2.1")
    assert len(people._failures) <= 50


def test_access_tokens(secured: Client) -> None:
    people = accounts(secured)
    alice = people.user("alice")
    token = people.add_token(alice, "ci", Level.READ)
    assert people.sign_in("alice", token) == User(alice.id, "alice", False, Level.READ)
    assert people.sign_in("bob", token) is None
    assert people.by_token(token[:-1] + ("A" if token[-1] != "A" else "B")) is None
    assert people.by_token(people.add_token(alice, "old", Level.READ, life=-1)) is None
    kept = people.tokens(alice)
    assert [one.label for one in kept] == ["ci", "old"]
    assert kept[0].used is not None
    people.remove_token(people.user("bob"), kept[0].id)  # somebody else's
    assert people.by_token(token) is not None
    people.remove_token(alice, kept[0].id)
    assert people.by_token(token) is None


def test_levels(secured: Client) -> None:
    people, metadata = accounts(secured), secured.hub.metadata
    alice, bob, root = (people.user(name) for name in ("alice", "bob", "root"))
    metadata.ensure_repository("alice/secret", private=True)
    metadata.ensure_repository("alice/open")
    table = {
        "alice/secret": (Level.NONE, Level.ADMIN, Level.NONE, Level.ADMIN),
        "alice/open": (Level.READ, Level.ADMIN, Level.READ, Level.ADMIN),
        "alice/new": (Level.NONE, Level.ADMIN, Level.NONE, Level.ADMIN),
        "acme/app": (Level.NONE, Level.NONE, Level.WRITE, Level.ADMIN),
        "alice": (Level.NONE, Level.NONE, Level.NONE, Level.ADMIN),
        "library/x": (Level.NONE, Level.NONE, Level.NONE, Level.ADMIN),
    }
    for name, expected in table.items():
        assert tuple(people.level(who, name) for who in (None, alice, bob, root)) == expected, name
    people.grant("alice/secret", "bob", Level.READ)
    assert people.level(bob, "alice/secret") is Level.READ
    people.grant("alice/secret", "bob", Level.NONE)
    assert people.level(bob, "alice/secret") is Level.NONE
    assert people.level(User(alice.id, "alice", False, Level.READ), "alice/new") is Level.READ


# --- over HTTP -------------------------------------------------------------------------------------------------


def test_anybody_is_challenged(secured: Client) -> None:
    answer = secured.get("/v2/")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{secured.url}/token",service="{secured.host}"'
    behind = secured.get("/v2/", X_Forwarded_Proto="https", Host="hub.example.com").headers["WWW-Authenticate"]
    assert behind.startswith('Bearer realm="https://hub.example.com/token"')
    answer = secured("POST", "/v2/alice/app/blobs/uploads/", b"")
    assert answer.headers["WWW-Authenticate"].endswith('scope="repository:alice/app:pull,push"')
    assert secured.get("/v2/", **basic("alice")).status == 200
    assert secured.get("/v2/", **basic("alice", "wrong password")).status == 401
    assert secured.get("/v2/", Authorization="Bearer nonsense").status == 401
    assert secured.get("/v2/", Authorization="Basic %%%").status == 401


def test_who_may_push_and_pull(secured: Client) -> None:
    image = Image()
    image.push(secured, "alice/app", "v1", **basic("alice"))
    assert secured.get("/v2/alice/app/manifests/v1").status == 200  # public
    assert secured("POST", "/v2/alice/app/blobs/uploads/", b"", **basic("bob")).status == 403
    secured.hub.metadata.describe("alice/app", private=True)
    assert secured.get("/v2/alice/app/manifests/v1").status == 401
    assert secured.get("/v2/alice/app/manifests/v1", **basic("bob")).status == 403
    image.push(secured, "acme/app", "v1", **basic("bob"))
    assert secured("DELETE", "/v2/acme/app/manifests/v1", None, **basic("bob")).status == 403
    assert secured("DELETE", "/v2/acme/app/manifests/v1", None, **basic("root")).status == 202


def test_no_cache_on_the_way_keeps_what_somebody_signed_in_for(secured: Client) -> None:
    image = Image()
    image.push(secured, "alice/app", "v1", **basic("alice"))
    path = f"/v2/alice/app/blobs/{sha256(image.layers[0])}"
    assert secured.get(path, **basic("alice")).headers["Cache-Control"].startswith("private, ")
    secured.hub.metadata.describe("alice/app", private=False)
    assert secured.get(path).headers["Cache-Control"].startswith("public, ")


def test_nobody_mounts_what_he_may_not_read(secured: Client) -> None:
    push_blob(secured, "alice/app", b"secret", **basic("alice"))
    secured.hub.metadata.describe("alice/app", private=True)
    path = f"/v2/acme/app/blobs/uploads/?mount={sha256(b'secret')}&from=alice/app"
    assert secured("POST", path, b"", **basic("bob")).status == 202
    assert secured("POST", path, b"", **basic("root")).status == 201
    anywhere = f"/v2/acme/other/blobs/uploads/?mount={sha256(b'secret')}"
    assert secured("DELETE", f"/v2/acme/app/blobs/{sha256(b'secret')}", None, **basic("root")).status == 202
    assert secured("POST", anywhere, b"", **basic("bob")).status == 202, "nor what he doesn't name"
    assert secured("POST", anywhere, b"", **basic("root")).status == 201


def test_the_catalog_shows_what_one_may_see(secured: Client) -> None:
    Image().push(secured, "alice/secret", "v1", **basic("alice"))
    Image().push(secured, "acme/open", "v1", **basic("bob"))
    secured.hub.metadata.describe("alice/secret", private=True)
    assert secured.get("/v2/_catalog", **basic("bob")).json == {"repositories": ["acme/open"]}
    assert secured.get("/v2/_catalog", **basic("alice")).json == {"repositories": ["acme/open", "alice/secret"]}
    assert secured.get("/v2/_catalog").status == 401


def test_the_token_server(secured: Client) -> None:
    query = "?service=x&scope=repository:alice/app:pull,push&scope=repository:acme/app:push"
    answer = secured.get("/token" + query, **basic("alice"))
    claims = bearer.read(answer.json["token"], accounts(secured).signing_key(), 0.0)
    assert claims is not None
    assert claims.access == {"alice/app": frozenset({"pull", "push"}), "acme/app": frozenset()}
    assert answer.json["expires_in"] == 300
    assert secured.get("/token" + query, **basic("alice", "wrong")).status == 401
    anybody = bearer.read(secured.get("/token" + query).json["token"], accounts(secured).signing_key(), 0.0)
    assert anybody is not None
    assert (anybody.subject, anybody.access["alice/app"]) == ("", frozenset())
    form = {"grant_type": "password", "username": "alice", "password": PASSWORD, "scope": "repository:alice/app:pull"}
    assert secured.form("/token", form).status == 200
    assert secured.form("/token", {**form, "password": "wrong"}).status == 401
    refresh = accounts(secured).add_token(accounts(secured).user("alice"), "x", Level.READ)
    answer = secured.form("/token", {"grant_type": "refresh_token", "refresh_token": refresh, "scope": "a:b:c"})
    assert (answer.status, answer.json["refresh_token"]) == (200, refresh)
    assert secured.form("/token", {"grant_type": "magic"}).status == 400


def test_a_bearer_token_opens_what_it_names_only(secured: Client) -> None:
    Image().push(secured, "alice/app", "v1", **basic("alice"))
    secured.hub.metadata.describe("alice/app", private=True)
    token = secured.get("/token?scope=repository:alice/app:pull", **basic("alice")).json["token"]
    mine = {"Authorization": f"Bearer {token}"}
    assert secured.get("/v2/", **mine).status == 200
    assert secured.get("/v2/alice/app/manifests/v1", **mine).status == 200
    answer = secured("POST", "/v2/alice/app/blobs/uploads/", b"", **mine)
    assert (answer.status, answer.code) == (401, "DENIED"), "which clients show when the next token is no better"
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.endswith('scope="repository:alice/app:pull,push",error="insufficient_scope"')
    nobody = secured.get("/token?scope=repository:alice/app:pull").json["token"]
    answer = secured.get("/v2/alice/app/manifests/v1", Authorization=f"Bearer {nobody}")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED"), "there is more to be had by signing in"


def test_our_client_signs_in(secured: Client) -> None:
    config = ClientConfig(patience=Patience(retries=0))
    image = Image()
    mine = RegistryClient(secured.host, config, Credentials("alice", PASSWORD))
    ping(mine)
    push = Push(mine, "alice/app")
    for data in (image.config, *image.layers):
        push.blob(blob(data), source_of(data))
    push.manifest("v1", image.manifest, MANIFEST)
    secured.hub.metadata.describe("alice/app", private=True)
    reference = parse(f"{secured.host}/alice/app:v1")
    assert resolve(reference, Platform("amd64", "linux"), mine).content == image.manifest
    with pytest.raises(NotFound, match="pull access denied"):
        resolve(reference, Platform("amd64", "linux"), RegistryClient(secured.host, config))
    other = RegistryClient(secured.host, config, Credentials("bob", PASSWORD))
    with pytest.raises(NotFound, match="pull access denied"):
        resolve(reference, Platform("amd64", "linux"), other)
    with pytest.raises(KistError, match=r"denied|unauthorized"):
        Push(other, "alice/app").blob(blob(b"x"), source_of(b"x"))
    with pytest.raises(KistError, match="incorrect username or password"):
        ping(RegistryClient(secured.host, config, Credentials("alice", "wrong password")))


def test_immutable_tags(secured: Client) -> None:
    image = Image()
    image.push(secured, "alice/app", "v1", **basic("alice"))
    secured.hub.metadata.describe("alice/app", immutable=True)
    image.push(secured, "alice/app", "v1", **basic("alice"))  # the same again
    other = Image([b"other"])
    with pytest.raises(AssertionError, match="immutable"):
        other.push(secured, "alice/app", "v1", **basic("alice"))
    other.push(secured, "alice/app", "v2", **basic("alice"))
    assert secured("DELETE", "/v2/alice/app/manifests/v1", None, **basic("alice")).status == 405


def test_metrics_are_for_admins_and_this_machine(secured: Client) -> None:
    assert secured.get("/metrics").status == 200
    elsewhere = {"X_Forwarded_For": "192.0.2.1"}
    assert secured.get("/metrics", **elsewhere).status == 403
    assert secured.get("/metrics", **elsewhere, **basic("alice")).status == 403
    assert secured.get("/metrics", **elsewhere, **basic("root")).status == 200


def test_the_secrets_are_the_owners_alone(secured: Client) -> None:
    for path in secured.hub.config.data.glob("hub.db*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_admin_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import io

    def run(*arguments: str, stdin: str = "") -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        return admin.main(["--data", str(tmp_path), *arguments])

    assert run("user", "add", "alice", "--admin", stdin=PASSWORD + "\n") == 0
    assert run("user", "add", "bob", stdin="short") == 1
    assert run("user", "add", "bob", stdin=PASSWORD) == 0
    assert run("org", "add", "acme") == 0
    assert run("org", "member", "acme", "bob", "write") == 0
    assert run("org", "member", "acme", "bob", "king") == 1
    capsys.readouterr()
    assert run("user", "list") == 0
    assert run("org", "list") == 0
    assert capsys.readouterr().out == "alice\tadmin\nbob\tuser\nacme\tbob (write)\n"
    assert run("token", "add", "bob", "ci") == 0
    assert capsys.readouterr().out.startswith("kist_")
    assert run("repo", "set", "acme/app", "--private", "--immutable", "--summary", "An app") == 0
    assert run("repo", "grant", "acme/app", "alice", "read") == 0
    assert run("repo", "remove", "nothing") == 1
    assert run("repo", "remove", "acme/app") == 0
    with closing(open_content(tmp_path).metadata) as left:
        assert left.accounts.grants("acme/app") == {}, "the next acme/app has readers of its own"
    assert run("gc", "--grace", "0", "--untagged") == 0
    assert run("user", "remove", "bob") == 0
