from __future__ import annotations

import base64

import pytest

from kist.errors import EngineFailure, InvalidParameter, Unauthorized
from kist.registry.auth import Authenticator, checked_realm, parse_token, token_request
from kist.registry.credentials import Credentials, for_host, from_auth_entry, from_config
from kist.registry.protocol import Endpoint
from kist.registry.settings import ClientConfig, Proxies, bypasses, is_loopback

HUB = Endpoint("https://registry-1.docker.io")


def test_endpoints_mirrors_first_then_the_registry() -> None:
    config = ClientConfig.from_mapping({"docker.io": {"mirrors": ["http://127.0.0.1:5555", "https://m/x/"]}})
    assert [point.base for point in config.endpoints("docker.io")] == [
        "http://127.0.0.1:5555", "https://m/x", "https://registry-1.docker.io"]
    assert [point.mirror for point in config.endpoints("docker.io")] == [True, True, False]


def test_plain_http_only_where_configured_or_on_loopback() -> None:
    config = ClientConfig.from_mapping({"old.example": {"insecure": True}})
    assert [p.base for p in config.endpoints("old.example")] == ["https://old.example", "http://old.example"]
    assert [p.base for p in config.endpoints("127.0.0.1:5000")] == ["https://127.0.0.1:5000", "http://127.0.0.1:5000"]
    assert [p.base for p in config.endpoints("new.example")] == ["https://new.example"]


@pytest.mark.parametrize("table", [
    {"mirrors": "http://x"}, {"mirrors": ["x"]}, {"insecure": "yes"}, {"ca": 1}, {"x": 1}])
def test_wrong_settings_are_refused_by_name(table: dict[str, object]) -> None:
    with pytest.raises(InvalidParameter):
        ClientConfig.from_mapping({"r.example": table})


@pytest.mark.parametrize(("host", "expected"), [
    ("localhost:5000", True), ("127.0.0.9", True), ("[::1]:80", True), ("127.example.com", False), ("10.0.0.1", False)])
def test_loopback(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(("no_proxy", "host", "expected"), [
    ("example.com", "example.com:443", True), ("example.com", "sub.example.com", True),
    (".example.com", "example.com", True), ("example.com:80", "example.com:443", False),
    ("*", "any", True), ("10.0.0.0/8", "10.1.2.3:80", True), ("10.0.0.0/8", "11.1.2.3", False),
    ("le.com", "example.com", False), ("", "example.com", False), ("", "127.0.0.1:5000", True)])
def test_no_proxy(no_proxy: str, host: str, *, expected: bool) -> None:
    assert bypasses(no_proxy, host) is expected


def test_proxy_by_scheme() -> None:
    proxies = Proxies(http="http://p:1", https="http://p:2", no_proxy="in.example")
    assert proxies.url_for("https", "out.example") == "http://p:2"
    assert proxies.url_for("http", "out.example") == "http://p:1"
    assert proxies.url_for("https", "in.example") is None


def test_credentials_of_config_json() -> None:
    packed = base64.b64encode(b"me:pa:ss").decode()
    lookup = from_config({"auths": {"https://index.docker.io/v1/": {"auth": packed}, "r.example": {
        "identitytoken": "t"}}})
    assert lookup("registry-1.docker.io") == Credentials("me", "pa:ss")
    assert lookup("r.example") == Credentials(identity_token="t")
    assert lookup("other.example") is None


@pytest.mark.parametrize("entry", [{"auth": "%%"}, {"auth": base64.b64encode(b"nocolon").decode()}, {"username": 1}])
def test_broken_credentials_are_refused(entry: dict[str, object]) -> None:
    with pytest.raises(InvalidParameter):
        from_auth_entry(entry)


def test_credentials_never_show_in_their_repr() -> None:
    assert "secret" not in repr(Credentials("me", "secret", "secret", "secret"))


def test_credentials_of_a_registry_are_not_its_mirrors() -> None:
    lookup = for_host("docker.io", Credentials("me", "x"))
    assert lookup("registry-1.docker.io") is not None
    assert lookup("127.0.0.1:5555") is None


def test_token_requests() -> None:
    method, url, headers, body = token_request("https://a/t", "s", ["repository:x:pull"], Credentials("u", "p"))
    assert (method, body) == ("GET", None)
    assert url == "https://a/t?service=s&scope=repository:x:pull&client_id=kist"
    assert headers == {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    method, url, headers, body = token_request("https://a/t", "s", ["x"], Credentials(identity_token="i"))
    assert (method, url) == ("POST", "https://a/t")
    assert body is not None
    assert b"refresh_token=i" in body


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a b"}', b'{"token":"x","expires_in":"y"}'])
def test_senseless_tokens_are_refused(body: bytes) -> None:
    with pytest.raises(EngineFailure, match="makes no sense"):
        parse_token(body, 0.0)


@pytest.mark.parametrize("realm", ["", "file:///etc/passwd", "http://auth.example/token", "https://u:p@x/"])
def test_a_realm_that_would_leak_the_password_is_refused(realm: str) -> None:
    with pytest.raises(EngineFailure):
        checked_realm(HUB, realm)


def test_a_token_is_fetched_once_and_renewed_when_it_ends() -> None:
    now, fetched = [0.0], []

    def fetch(method: str, url: str, headers: dict[str, str], body: bytes | None) -> bytes:
        fetched.append(url)
        return b'{"token": "t%d", "expires_in": 100}' % len(fetched)

    auth = Authenticator(lambda host: None, fetch, clock=lambda: now[0])
    challenge = 'Bearer realm="https://a/t",service="s"'
    assert auth.header(HUB, "repository:x:pull") is None
    assert auth.answer(HUB, "repository:x:pull", challenge, None) == "Bearer t1"
    assert auth.answer(HUB, "repository:x:pull", challenge, None) == "Bearer t1"  # another thread's 401
    assert auth.answer(HUB, "repository:y:pull", challenge, None) == "Bearer t2"  # another scope
    now[0] = 95.0
    assert auth.header(HUB, "repository:x:pull") is None


def test_basic_without_credentials_or_with_wrong_ones() -> None:
    auth = Authenticator(lambda host: None, lambda *args: b"")
    with pytest.raises(Unauthorized, match="no basic auth credentials"):
        auth.answer(HUB, "s", "Basic realm=x", None)
    mine = Credentials("u", "p")
    auth = Authenticator(lambda host: mine, lambda *args: b"")
    assert auth.answer(HUB, "s", "Basic realm=x", None) == mine.basic()
    with pytest.raises(Unauthorized, match="incorrect username or password"):
        auth.answer(HUB, "s", "Basic realm=x", mine.basic())
