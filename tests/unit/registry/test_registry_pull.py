"""The client against registries that lie, stall, loop and never end."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from kist.errors import KistError, NotFound, Unauthorized, Unavailable
from kist.oci.platform import Platform
from kist.oci.reference import Reference, parse
from kist.registry.client import RegistryClient
from kist.registry.credentials import Credentials
from kist.registry.protocol import Endpoint
from kist.registry.pull import Resolved, VerificationFailed, fetch_blob, list_tags, ping, read_blob, resolve
from kist.registry.settings import ClientConfig, Patience, RegistrySettings
from unit.registry.hostile import Handler, Image, Reply, Request, Server, error_body, reply, sha256

Serve = Callable[[Handler], Server]
AMD64 = Platform("amd64", "linux")
HASTY = Patience(connect=2, read=0.5, head=0.7, small_body=0.7, window=0.3, slowest=1000, retries=2, pause=0.01)


def config(**registries: RegistrySettings) -> ClientConfig:
    return ClientConfig({name.replace("_", "."): value for name, value in registries.items()}, patience=HASTY)


def client_for(server: Server, credentials: Credentials | None = None) -> RegistryClient:
    return RegistryClient(server.host, config(), credentials)


def ref(server: Server, rest: str = "app:1") -> Reference:
    return parse(f"{server.host}/{rest}")


def resolved(server: Server) -> Resolved:
    return resolve(ref(server), AMD64, client_for(server))


def pull_layer(found: Resolved) -> bytes:
    return b"".join(fetch_blob(found, found.manifest.layers[0]))


def test_an_honest_registry(serve: Serve) -> None:
    image = Image()
    found = resolved(serve(image.answer))
    assert found.content == image.manifest
    assert found.descriptor.digest == sha256(image.manifest)
    assert found.mirror is None
    assert read_blob(found, found.manifest.config) == image.config
    assert pull_layer(found) == image.layer


def test_an_index_is_followed_to_the_platform(serve: Serve) -> None:
    image, other = Image(), Image(layer=b"other")

    def handler(request: Request) -> Reply:
        index = json.dumps({"schemaVersion": 2, "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256(one.manifest),
             "size": len(one.manifest), "platform": {"os": "linux", "architecture": arch}}
            for one, arch in ((other, "arm64"), (image, "amd64"))]}).encode()
        if request.path.endswith("/manifests/1"):
            return reply(200, index, Content_Type="application/vnd.oci.image.index.v1+json")
        return (image if sha256(image.manifest) in request.path else other).answer(request)

    server = serve(handler)
    found = resolved(server)
    assert found.content == image.manifest
    assert found.top != found.descriptor
    assert len(found.indexes) == 1
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        resolve(ref(server), Platform("s390x", "linux"), client_for(server))


def test_a_manifest_that_is_not_its_digest(serve: Serve) -> None:
    server = serve(Image().answer)
    wanted = ref(server, f"app@{sha256(b'something else')}")
    with pytest.raises(VerificationFailed, match="manifest verification failed for digest sha256:"):
        resolve(wanted, AMD64, client_for(server))


def test_a_manifest_that_never_ends(serve: Serve) -> None:
    def endless(request: Request) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            yield b" " * 65536

    with pytest.raises(Unavailable, match="longer than 4194304 bytes"):
        resolved(serve(endless))


def blobs(image: Image, layer: Handler) -> Handler:
    """Honest but for the layer."""
    return lambda request: (layer if request.path.endswith(sha256(image.layer)) else image.answer)(request)


def test_wrong_bytes_of_the_right_length(serve: Serve) -> None:
    image = Image()
    found = resolved(serve(blobs(image, lambda request: reply(200, b"x" * len(image.layer)))))
    words = f"filesystem layer verification failed for digest {sha256(image.layer)}"
    with pytest.raises(VerificationFailed, match=words):
        pull_layer(found)


def test_more_bytes_than_the_manifest_says(serve: Serve) -> None:
    image = Image()
    found = resolved(serve(blobs(image, lambda request: reply(200, image.layer + b"more"))))
    with pytest.raises(VerificationFailed, match="announces 5004 bytes, the manifest 5000"):
        pull_layer(found)


def test_an_endless_blob_is_cut_at_its_size(serve: Serve) -> None:
    image = Image()

    def endless(request: Request) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            yield b"x" * 65536

    found = resolved(serve(blobs(image, endless)))
    got: list[bytes] = []
    with pytest.raises(VerificationFailed, match="sends more than its 5000 bytes"):
        got.extend(fetch_blob(found, found.manifest.layers[0]))
    assert sum(map(len, got)) <= len(image.layer)


def test_a_truncated_blob_is_resumed_by_range(serve: Serve) -> None:
    image = Image()
    broken: list[str] = []

    def layer(request: Request) -> bytes:
        whole = image.answer(request)
        if len(broken) < 3:
            broken.append(request.headers.get("range", ""))
            return whole[:-1000] if len(broken) < 3 else whole[: whole.index(b"\r\n\r\n") + 14]
        return whole

    found = resolved(serve(blobs(image, layer)))
    assert pull_layer(found) == image.layer
    assert broken == ["", "bytes=4000-", "bytes=4000-"]


def test_a_registry_without_ranges_sends_it_again(serve: Serve) -> None:
    image, tries = Image(), [0]

    def layer(request: Request) -> bytes:
        tries[0] += 1
        whole = reply(200, image.layer)
        return whole[:-1000] if tries[0] == 1 else whole

    assert pull_layer(resolved(serve(blobs(image, layer)))) == image.layer


def test_a_blob_that_stays_truncated(serve: Serve) -> None:
    image = Image()
    short = reply(200, image.layer[:100])
    with pytest.raises(Unavailable, match="unexpected EOF"):
        pull_layer(resolved(serve(blobs(image, lambda request: short))))


def test_the_wrong_range(serve: Serve) -> None:
    image = Image()

    def layer(request: Request) -> bytes:
        if "range" not in request.headers:
            return image.answer(request)[:-1000]
        return reply(206, image.layer, Content_Range="bytes 0-4999/5000")

    with pytest.raises(Unavailable, match="another range than asked for"):
        pull_layer(resolved(serve(blobs(image, layer))))


def test_resuming_from_the_callers_offset(serve: Serve) -> None:
    image = Image()
    found = resolved(serve(image.answer))
    assert b"".join(fetch_blob(found, found.manifest.layers[0], offset=4321)) == image.layer[4321:]


@pytest.mark.parametrize("where", ["head", "body", "silence"])
def test_a_registry_that_drips(serve: Serve, where: str) -> None:
    image = Image()
    server: Server

    def drip(request: Request) -> Iterator[bytes]:
        if where == "body":
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"
        while True:
            yield b"" if where == "silence" else b"H"
            server.wait(0.1)

    server = serve(blobs(image, drip))
    started = time.monotonic()
    with pytest.raises(Unavailable):
        pull_layer(resolved(server))
    assert time.monotonic() - started < 30  # it ends at all; the patience above makes it a few seconds


def test_giant_heads_and_garbage(serve: Serve) -> None:
    ok = b"HTTP/1.1 200 OK\r\n"
    for head in (ok + b"X: y\r\n" * 100_000, ok + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n",
                 b"SSH-2.0-OpenSSH\r\n", b"", b"HTTP/1.1 abc\r\n\r\n"):
        with pytest.raises(Unavailable):
            resolved(serve(lambda request, head=head: head))  # type: ignore[misc]


def test_redirect_loops_end(serve: Serve) -> None:
    server = serve(lambda request: reply(307, Location=request.target))
    with pytest.raises(Unavailable, match="stopped after 5 redirects"):
        resolved(server)


def test_redirects_do_not_carry_the_authorization_away(serve: Serve) -> None:
    image = Image()
    elsewhere = serve(image.answer)

    def handler(request: Request) -> Reply:
        if request.headers.get("authorization") != Credentials("me", "secret").basic():
            return reply(401, WWW_Authenticate="Basic realm=x")
        if "/blobs/" in request.path:
            return reply(307, Location=elsewhere.url + request.target)
        return image.answer(request)

    server = serve(handler)
    found = resolve(ref(server), AMD64, client_for(server, Credentials("me", "secret")))
    assert pull_layer(found) == image.layer
    assert elsewhere.requests
    assert all("authorization" not in request.headers for request in elsewhere.requests)


def test_tls_is_not_left_by_redirect() -> None:
    from kist.registry.client import check_redirect

    with pytest.raises(Unavailable, match="refused to follow a redirect from https"):
        check_redirect(Endpoint("https://r.example"), "https://r.example/v2/", "http://r.example/x")
    with pytest.raises(Unavailable, match="invalid redirect"):
        check_redirect(Endpoint("https://r.example"), "https://r.example/v2/", "file:///etc/passwd")


def with_tokens(image: Image, server: list[Server], accepted: str) -> Handler:
    def handler(request: Request) -> Reply:
        if request.path == "/token":
            return reply(200, json.dumps({"token": "t1", "expires_in": 300}).encode())
        if request.headers.get("authorization") != f"Bearer {accepted}":
            realm = f'Bearer realm="{server[0].url}/token",service="s",scope="repository:app:pull"'
            return reply(401, error_body("UNAUTHORIZED", "authentication required"), WWW_Authenticate=realm)
        return image.answer(request)
    return handler


def test_token_authentication(serve: Serve) -> None:
    image, servers = Image(), list[Server]()
    servers.append(serve(with_tokens(image, servers, "t1")))
    found = resolve(ref(servers[0]), AMD64, client_for(servers[0], Credentials("me", "pw")))
    assert pull_layer(found) == image.layer
    asked = [request for request in servers[0].requests if request.path == "/token"]
    assert len(asked) == 1
    assert asked[0].headers["authorization"] == Credentials("me", "pw").basic()
    assert "scope=repository:app:pull" in asked[0].target


def test_a_registry_that_rejects_every_token(serve: Serve) -> None:
    servers = list[Server]()
    servers.append(serve(with_tokens(Image(), servers, "another")))
    with pytest.raises(NotFound, match=r"pull access denied for .*/app, repository does not exist or may require"):
        resolved(servers[0])
    assert len(servers[0].requests) < 8


def test_wrong_password(serve: Serve) -> None:
    def handler(request: Request) -> Reply:
        return reply(401, error_body("UNAUTHORIZED", "no"), WWW_Authenticate="Basic realm=x")

    server = serve(handler)
    with pytest.raises(KistError, match=r"unauthorized|denied"):
        ping(client_for(server, Credentials("me", "wrong")))
    with pytest.raises(Unauthorized, match="no basic auth credentials"):
        ping(client_for(server))


def test_rate_limits_are_explained(serve: Serve) -> None:
    server = serve(lambda request: reply(429, error_body("TOOMANYREQUESTS", "slow down"), Retry_After="60"))
    with pytest.raises(Unavailable, match=r"toomanyrequests: slow down \(it asks to wait 60 s\)"):
        resolved(server)


def answers_once(image: Image, *first: bytes) -> Handler:
    """Honest after the answers ``first``."""
    left = list(first)
    return lambda request: left.pop(0) if left else image.answer(request)


def test_what_is_temporary_is_asked_again(serve: Serve) -> None:
    image = Image()
    slow_down = reply(429, error_body("TOOMANYREQUESTS", "slow down"), Retry_After="0")
    for first in ((slow_down, b""), (reply(503),)):
        assert pull_layer(resolved(serve(answers_once(image, *first)))) == image.layer
    server = serve(answers_once(image, *[reply(503, Retry_After="0")] * 9))
    with pytest.raises(Unavailable, match="received unexpected HTTP status: 503"):
        resolved(server)
    assert len(server.requests) == 3
    server = serve(answers_once(image, *[reply(500)] * 9))
    with pytest.raises(Unavailable, match="received unexpected HTTP status: 500"):
        resolved(server)
    assert len(server.requests) == 1


def test_schema_1_is_refused_clearly(serve: Serve) -> None:
    body = json.dumps({"schemaVersion": 1, "name": "app", "fsLayers": []}).encode()
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    with pytest.raises(KistError, match="schema 1 is not supported"):
        resolved(serve(lambda request: reply(200, body, Content_Type=kind)))


# --- which endpoint -------------------------------------------------------------------------------------


def closed_port() -> str:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def mirrored(*mirrors: str, host: str = "upstream.invalid") -> RegistryClient:
    settings = {host: RegistrySettings(mirrors=mirrors)}
    return RegistryClient(host, ClientConfig(settings, patience=HASTY))


def test_a_mirror_answers_for_a_registry_that_is_not_there(serve: Serve) -> None:
    image = Image()
    broken = serve(lambda request: reply(500))
    mirror = serve(image.answer)
    client = mirrored(f"http://{closed_port()}", broken.url, mirror.url)
    found = resolve(parse("upstream.invalid/app:1"), AMD64, client)
    assert found.mirror == mirror.url
    assert pull_layer(found) == image.layer
    assert mirror.requests[0].target.endswith("?ns=upstream.invalid")


def test_a_blob_that_a_mirror_loses_comes_from_the_next(serve: Serve) -> None:
    image = Image()
    second = serve(image.answer)

    def loses_it(request: Request) -> bytes:
        return b"" if "range" in request.headers else reply(200, image.layer)[:-2000]

    broken = serve(blobs(image, loses_it))
    client = mirrored(broken.url, second.url)
    found = resolve(parse("upstream.invalid/app:1"), AMD64, client)
    assert found.mirror == broken.url
    assert pull_layer(found) == image.layer
    assert second.requests[-1].headers["range"] == "bytes=3000-"


def test_the_words_for_a_registry_that_is_not_there() -> None:
    client = RegistryClient("nope.invalid", config())
    words = 'Get "https://nope.invalid/v2/": dial tcp: lookup nope.invalid: no such host'
    with pytest.raises(Unavailable, match=re.escape(words)):
        resolve(parse("nope.invalid/app:1"), AMD64, client)
    host = closed_port()
    with pytest.raises(Unavailable, match=rf'Get "http://{host}/v2/": dial tcp {host}: connect: connection refused'):
        resolve(parse(f"{host}/app:1"), AMD64, RegistryClient(host, config()))


def test_tags_over_pages(serve: Serve) -> None:
    def handler(request: Request) -> Reply:
        if "last=b" in request.target:
            return reply(200, b'{"name":"app","tags":["c"]}')
        return reply(200, b'{"name":"app","tags":["a","b"]}', Link='</v2/app/tags/list?n=2&last=b>; rel="next"')

    server = serve(handler)
    assert list_tags(client_for(server), ref(server)) == ["a", "b", "c"]


def test_an_answer_that_is_no_list(serve: Serve) -> None:
    server = serve(lambda request: reply(200, b'{"tags": 5}'))
    with pytest.raises(Unavailable, match="not a list"):
        list_tags(client_for(server), replace(ref(server)))
