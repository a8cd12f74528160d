"""The pull-through cache, with another Hub as its upstream, and with one that lies."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import urllib3

from kist.hub.app import open_hub
from kist.hub.config import HubConfig
from unit.hub.images import INDEX, Image, index_of, put_manifest, sha256
from unit.hub.served import Client, serving
from unit.registry.hostile import Image as HostileImage
from unit.registry.hostile import Reply, Request, Server, reply

Start = Callable[..., Client]


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[tuple[Client, ExitStack]]:
    """A Hub that can be switched off: ``stack.close()``."""
    stack = ExitStack()
    client = stack.enter_context(serving(open_hub(HubConfig(data=tmp_path / "upstream", access_log=""))))
    with stack:
        yield client, stack


def caching(start: Start, host: str, **settings: object) -> Client:
    return start(upstreams={"up.example": {"host": host}}, **settings)


def asked(client: Client, route: str) -> int:
    """How many GETs an upstream has answered."""
    lines = client.get("/metrics").body.decode().splitlines()
    wanted = f'kist_hub_requests_total{{method="GET",route="{route}",status="200"}}'
    return next((int(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted)), 0)


def pull(client: Client, image: Image, name: str, reference: str = "v1", query: str = "") -> None:
    answer = client.get(f"/v2/{name}/manifests/{reference}{query}")
    assert (answer.status, answer.body) == (200, image.manifest), answer.body
    for blob in (image.config, *image.layers):
        answer = client.get(f"/v2/{name}/blobs/{sha256(blob)}{query}")
        assert (answer.status, answer.body) == (200, blob)


def test_what_is_not_here_is_fetched_once(start: Start, upstream: tuple[Client, ExitStack]) -> None:
    up, stack = upstream
    image = Image([os.urandom(3_000_000), b"second"])
    image.push(up, "team/app", "v1")
    cache = caching(start, up.host)
    for _ in range(3):
        pull(cache, image, "up.example/team/app")
    assert (asked(up, "manifest"), asked(up, "blob")) == (1, 3)
    assert client_head(cache, "up.example/team/app", image) == 200
    stack.close()  # an outage: what is here is still given
    pull(cache, image, "up.example/team/app")
    pull(cache, image, "up.example/team/app", image.digest)


def client_head(client: Client, name: str, image: Image) -> int:
    return client("HEAD", f"/v2/{name}/blobs/{sha256(image.layers[0])}").status


def test_an_outage_after_the_tag_went_stale(start: Start, upstream: tuple[Client, ExitStack]) -> None:
    up, stack = upstream
    old, new = Image([b"old"]), Image([b"new"])
    old.push(up, "app", "v1")
    cache = caching(start, up.host, tag_life=0)
    pull(cache, old, "up.example/app")
    new.push(up, "app", "v1")
    pull(cache, new, "up.example/app")
    stack.close()
    pull(cache, new, "up.example/app")
    answer = cache.get("/v2/up.example/app/manifests/never-asked-for")
    assert (answer.status, answer.code) == (503, "UNAVAILABLE")


def test_what_the_upstream_has_not_got(start: Start, upstream: tuple[Client, ExitStack]) -> None:
    up, _ = upstream
    cache = caching(start, up.host)
    assert cache.get("/v2/up.example/app/manifests/v1").code == "MANIFEST_UNKNOWN"
    assert cache.get(f"/v2/up.example/app/blobs/{sha256(b'x')}").code == "BLOB_UNKNOWN"


def test_as_a_mirror_ours_comes_first(start: Start, upstream: tuple[Client, ExitStack]) -> None:
    up, _ = upstream
    theirs, ours, both = Image([b"theirs"]), Image([b"ours"]), Image([b"both"])
    theirs.push(up, "library/theirs", "v1")
    both.push(up, "library/app", "v1")
    cache = caching(start, up.host)
    ours.push(cache, "library/app", "v1")
    pull(cache, ours, "library/app", query="?ns=up.example")
    pull(cache, theirs, "library/theirs", query="?ns=up.example")
    assert cache.get("/v2/library/theirs/manifests/v1").status == 404
    assert cache.get("/v2/library/theirs/manifests/v1?ns=other.example").status == 404
    plain = caching(start, up.host, mirror_of="up.example")
    pull(plain, theirs, "library/theirs")


def test_an_index_is_cached_without_what_nobody_asked_for(start: Start, upstream: tuple[Client, ExitStack]) -> None:
    up, stack = upstream
    one, two = Image([b"1"]), Image([b"2"])
    one.push(up, "app", "one")
    two.push(up, "app", "two")
    put_manifest(up, "app", "all", index_of(one, two), INDEX)
    cache = caching(start, up.host)
    assert cache.get("/v2/up.example/app/manifests/all").body == index_of(one, two)
    pull(cache, one, "up.example/app", one.digest)
    assert cache.get("/v2/up.example/app/tags/list").json["tags"] == ["all", "one", "two"]
    stack.close()
    pull(cache, one, "up.example/app", one.digest)
    assert cache.get("/v2/up.example/app/tags/list").json["tags"] == ["all"]


def test_what_refers_to_an_image_comes_through_too(
        start: Start, upstream: tuple[Client, ExitStack]) -> None:
    up, stack = upstream
    image = Image()
    image.push(up, "app", "v1")
    signature = Image([b"signature"], more={"subject": image.descriptor, "artifactType": "application/x-signature"})
    signature.push(up, "app", signature.digest)
    cache = caching(start, up.host)
    path = f"/v2/up.example/app/referrers/{image.digest}"
    (found,) = cache.get(path).json["manifests"]
    assert (found["digest"], found["artifactType"]) == (signature.digest, "application/x-signature")
    assert cache.get(f"/v2/app/referrers/{image.digest}?ns=up.example").json["manifests"] == [found]
    filtered = cache.get(f"{path}?artifactType=application/x-other")
    assert (filtered.json["manifests"], filtered.headers["OCI-Filters-Applied"]) == ([], "artifactType")
    pull(cache, signature, "up.example/app", signature.digest)
    stack.close()  # an outage: what was pulled is still known
    assert [one["digest"] for one in cache.get(path).json["manifests"]] == [signature.digest]


def test_an_upstream_without_the_referrers_api_is_asked_for_the_tag(start: Start) -> None:
    image, signature = Image(), Image([b"signature"])
    index = index_of(signature)

    def handler(request: Request) -> Reply:
        """As registries of the specification's version 1.0."""
        if request.path.endswith(f"/manifests/{image.digest.replace(':', '-')}"):
            return reply(200, index, **{"Content-Type": INDEX})
        return reply(200, b"{}") if request.path == "/v2/" else reply(404)

    server = Server(handler)
    try:
        answer = caching(start, server.host).get(f"/v2/up.example/app/referrers/{image.digest}")
        assert [one["digest"] for one in answer.json["manifests"]] == [signature.digest]
    finally:
        server.close()


def test_nobody_pushes_into_a_cache(start: Start, upstream: tuple[Client, ExitStack]) -> None:
    cache = caching(start, upstream[0].host)
    answer = cache("POST", "/v2/up.example/app/blobs/uploads/", b"")
    assert (answer.status, answer.code) == (403, "DENIED")


def test_many_clients_share_one_fetch(start: Start, upstream: tuple[Client, ExitStack]) -> None:
    up, _ = upstream
    image = Image([os.urandom(8_000_000)])
    image.push(up, "app", "v1")
    cache = caching(start, up.host)
    cache.get("/v2/up.example/app/manifests/v1")
    path = f"/v2/up.example/app/blobs/{sha256(image.layers[0])}"
    bodies: list[bytes] = []
    threads = [threading.Thread(target=lambda: bodies.append(cache.get(path).body)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert bodies == [image.layers[0]] * 6
    assert asked(up, "blob") == 1
    answer = cache.get(path, Range="bytes=10-19")
    assert (answer.status, answer.body) == (206, image.layers[0][10:20])


def test_a_lying_upstream_never_gives_a_whole_body(start: Start) -> None:
    image = HostileImage(layer=os.urandom(500_000))

    def handler(request: Request) -> Reply:
        if request.path.endswith(sha256(image.layer)):
            return reply(200, bytes(len(image.layer)))
        return image.answer(request)

    server = Server(handler)
    try:
        cache = caching(start, server.host)
        assert cache.get("/v2/up.example/app/manifests/1").body == image.manifest
        path = f"/v2/up.example/app/blobs/{sha256(image.layer)}"
        try:
            answer = cache.get(path)
        except urllib3.exceptions.HTTPError:
            pass  # broken off in its middle, as a rule …
        else:
            assert answer.status == 503  # … but where it was found out before the answer began, that is said
        assert cache.get(path, Range="bytes=0-5").status == 503
        assert cache.hub.metadata.blob_size(sha256(image.layer)) is None  # type: ignore[arg-type]
        assert list(cache.hub.content.blobs.uploads()) == []
        assert cache.get("/healthz").status == 200
    finally:
        server.close()
