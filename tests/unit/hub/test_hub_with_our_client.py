"""Kist's registry client against Kist's Hub: pushes, mounts, resumed uploads, pulls."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from kist.errors import EngineFailure, NotFound
from kist.oci.digest import Digest
from kist.oci.manifest import Descriptor
from kist.oci.platform import Platform
from kist.oci.reference import Reference, parse
from kist.registry.client import RegistryClient
from kist.registry.protocol import Endpoint
from kist.registry.pull import fetch_blob, head_manifest, list_referrers, list_tags, resolve
from kist.registry.push import Outcome, Push, Source
from kist.registry.settings import ClientConfig, Patience
from unit.hub.images import INDEX, MANIFEST, Image, index_of, sha256
from unit.hub.served import Client

CONFIG = ClientConfig(patience=Patience(connect=5, read=5, retries=3, pause=0.01))


def blob(data: bytes) -> Descriptor:
    return Descriptor(digest=Digest(sha256(data)), size=len(data))


def source_of(data: bytes, step: int = 50_000) -> Source:
    return lambda offset: (data[at:at + step] for at in range(offset, len(data), step))


def push_image(push: Push, image: Image, tag: str) -> None:
    for data in (image.config, *image.layers):
        push.blob(blob(data), source_of(data))
    push.manifest(tag, image.manifest, MANIFEST)


def ref(client: Client, rest: str = "app:v1") -> Reference:
    return parse(f"{client.host}/{rest}")


def test_push_then_pull(client: Client) -> None:
    registry = RegistryClient(client.host, CONFIG)
    image = Image([os.urandom(300_000), b"second"])
    push = Push(registry, "app")
    push_image(push, image, "v1")
    assert push.has_manifest(Digest(image.digest))
    found = resolve(ref(client), Platform("amd64", "linux"), registry)
    assert found.content == image.manifest
    assert [b"".join(fetch_blob(found, layer)) for layer in found.manifest.layers] == image.layers
    assert head_manifest(registry, ref(client)) == image.digest
    assert list_tags(registry, ref(client)) == ["v1"]
    with pytest.raises(NotFound, match=rf"manifest for {client.host}/app:no not found: manifest unknown"):
        resolve(ref(client, "app:no"), Platform("amd64", "linux"), registry)
    with pytest.raises(NotFound, match=r"pull access denied for .*/nothing"):
        resolve(ref(client, "nothing:v1"), Platform("amd64", "linux"), registry)


def test_a_layer_is_pushed_once_and_then_mounted(client: Client) -> None:
    registry = RegistryClient(client.host, CONFIG)
    data = os.urandom(100_000)
    sent: list[int] = []
    base = Push(registry, "base")
    assert base.blob(blob(data), source_of(data), progress=sent.append) is Outcome.PUSHED
    assert sent[-1] == len(data)
    assert base.blob(blob(data), source_of(data)) is Outcome.EXISTS
    assert Push(registry, "app").blob(blob(data), source_of(data), mount_from="base") is Outcome.MOUNTED


def test_in_chunks(client: Client) -> None:
    data = os.urandom(100_000)
    Push(RegistryClient(client.host, CONFIG), "app").blob(blob(data), source_of(data), chunk_size=30_000)
    assert client.get(f"/v2/app/blobs/{sha256(data)}").body == data


def test_an_empty_blob(client: Client) -> None:
    assert Push(RegistryClient(client.host, CONFIG), "app").blob(blob(b""), source_of(b"")) is Outcome.PUSHED


def test_a_source_that_lies_is_noticed(client: Client) -> None:
    push = Push(RegistryClient(client.host, CONFIG), "app")
    with pytest.raises(EngineFailure, match="digest invalid"):
        push.blob(blob(b"right"), source_of(b"wrong"))


def test_referrers_and_indexes(client: Client) -> None:
    registry = RegistryClient(client.host, CONFIG)
    push, image = Push(registry, "app"), Image()
    push_image(push, image, "v1")
    push_image(push, Image([b"sbom"], more={"subject": image.descriptor, "artifactType": "a/b"}), "bill")
    push.manifest("all", index_of(image), INDEX)
    assert len(list_referrers(registry, ref(client), Digest(image.digest), "a/b").manifests) == 1
    assert resolve(ref(client, "app:all"), None, registry).content == image.manifest


class Cutter:
    """A relay in front of the Hub that cuts each connection after ``budget`` bytes of requests, ``cuts`` times."""

    def __init__(self, host: str, budget: int, cuts: int) -> None:
        name, _, port = host.rpartition(":")
        self._target = (name, int(port))
        self._budget, self.cuts = budget, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                front, _ = self._listener.accept()
            except OSError:
                return
            back = socket.create_connection(self._target)
            threading.Thread(target=self._relay, args=(front, back, True), daemon=True).start()
            threading.Thread(target=self._relay, args=(back, front, False), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        left = self._budget
        try:
            while data := source.recv(16384):
                left -= len(data)
                if counted and left < 0 and self.cuts > 0:
                    self.cuts -= 1
                    break
                sink.sendall(data)
        except OSError:
            pass
        for side in (source, sink):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@pytest.fixture
def cutter(client: Client) -> Iterator[Cutter]:
    cutter = Cutter(client.host, 400_000, 2)
    yield cutter
    cutter.close()


def test_a_push_goes_on_after_the_connection_broke(client: Client, cutter: Cutter) -> None:
    data = os.urandom(1_000_000)
    registry = RegistryClient(cutter.url.removeprefix("http://"), CONFIG)
    registry.endpoints = (Endpoint(cutter.url),)
    offsets: list[int] = []

    def source(offset: int) -> Iterator[bytes]:
        offsets.append(offset)
        yield from source_of(data)(offset)

    assert Push(registry, "app").blob(blob(data), source) is Outcome.PUSHED
    assert cutter.cuts == 0
    assert client.get(f"/v2/app/blobs/{sha256(data)}").body == data
    assert offsets[0] == 0
    assert any(offset > 0 for offset in offsets), "it should have gone on from where it was, not from the start"
