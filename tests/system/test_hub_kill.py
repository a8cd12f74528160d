"""SIGKILL to a Hub while images are pushed to it: nothing half visible, and everything can be pushed again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
from pathlib import Path

from kist.errors import KistError
from kist.oci import digest as digests
from kist.oci import manifest as manifests
from kist.oci.manifest import Descriptor
from kist.oci.platform import Platform
from kist.oci.reference import parse
from kist.registry.client import RegistryClient
from kist.registry.pull import fetch_blob, list_tags, resolve
from kist.registry.push import Push
from kist.registry.settings import ClientConfig, Patience
from support.hub import Hub

CONFIG = ClientConfig(patience=Patience(connect=2, read=5, retries=0, repeats=0))
ROUNDS = 5


class Pusher(threading.Thread):
    """Pushes one small image after the other until the Hub is gone; remembers which tags were confirmed."""

    def __init__(self, host: str, name: str, seed: int) -> None:
        super().__init__()
        self._push = Push(RegistryClient(host, CONFIG), name)
        self._random = random.Random(seed)
        self._name = name
        self.confirmed: list[str] = []
        self.first = threading.Event()

    def run(self) -> None:
        try:
            while True:
                self._one(f"{self._random.getrandbits(64):016x}")
        except KistError:
            return

    def _one(self, tag: str) -> None:
        layers = [self._random.randbytes(self._random.choice([10, 5000, 400_000])) for _ in range(3)]
        config = json.dumps({"architecture": "amd64", "os": "linux", "tag": tag}).encode()
        blobs = [self._blob(data, manifests.OCI_LAYER) for data in layers]
        manifest = manifests.Manifest(schema_version=2, media_type=manifests.OCI_MANIFEST, layers=blobs,
                                      config=self._blob(config, manifests.OCI_CONFIG))
        self._push.manifest(tag, manifests.encode(manifest), manifests.OCI_MANIFEST)
        self.confirmed.append(tag)
        self.first.set()

    def _blob(self, data: bytes, kind: str) -> Descriptor:
        descriptor = manifests.descriptor(data, kind)
        self._push.blob(descriptor, lambda offset: [data[offset:]])
        return descriptor


def check(hub: Hub, name: str, confirmed: list[str]) -> None:
    """Every tag that is there can be pulled whole, and every push that was confirmed is there."""
    client = RegistryClient(hub.host, CONFIG)
    tags = list_tags(client, parse(f"{hub.host}/{name}")) if confirmed else []
    assert set(confirmed) <= set(tags)
    for tag in tags:
        found = resolve(parse(f"{hub.host}/{name}:{tag}"), Platform("amd64", "linux"), client)
        for blob in found.manifest.blobs:
            assert sum(map(len, fetch_blob(found, blob))) == blob.size


def test_kills_in_the_middle_of_pushes(tmp_path: Path) -> None:
    data, confirmed = tmp_path / "hub", {f"app{number}": list[str]() for number in range(2)}
    for turn in range(ROUNDS):
        hub = Hub(data, tmp_path / "log")
        try:
            pushers = [Pusher(hub.host, name, turn * 10 + number) for number, name in enumerate(confirmed)]
            for pusher in pushers:
                pusher.start()
            for pusher in pushers:
                assert pusher.first.wait(60), "nothing could be pushed"
            # A test of accidents may wait for a random while; whatever it hits must be right.
            threading.Event().wait(random.Random(turn).uniform(0.05, 0.6))
        finally:
            hub.process.kill()
            hub.process.wait(15)
        for pusher, name in zip(pushers, confirmed, strict=True):
            pusher.join(30)
            confirmed[name] += pusher.confirmed
    hub = Hub(data, tmp_path / "log")
    try:
        for name, tags in confirmed.items():
            check(hub, name, tags)
    finally:
        hub.close()
    for path in (data / "blobs" / "sha256").glob("??/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert digests.is_digest(f"sha256:{path.name}")
    assert not os.path.exists(data / "hub.db-journal")
