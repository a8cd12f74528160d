"""Images: pull into a cold cache, the first run, push to a registry that has nothing of it, removal.

The image is $BENCH_IMAGE, in a registry on loopback: the peers' (`debian-python:bench`, 51 + 78 MB of gzip, 13,000
files, 323 MB unpacked) unless another one is told. What is pushed goes to the benchmark's own Hub.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines import Bench, Engine, Failed

from kist.errors import InvalidParameter
from kist.store import erofs
from support.daemon import KIST, Daemon
from support.hub import Hub

IMAGE = os.environ.get("BENCH_IMAGE", "127.0.0.1:5001/debian-python:bench")


def there() -> bool:
    host, _, rest = IMAGE.partition("/")
    name, _, tag = rest.rpartition(":")
    request = urllib.request.Request(f"http://{host}/v2/{name}/manifests/{tag}", headers={"Accept": "*/*"})
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except (urllib.error.URLError, OSError) as error:
        print(f"left out: images: {IMAGE}: {error}", file=sys.stderr)
        return False
    return True


@contextmanager
def empty_hub(folder: Path) -> Iterator[Hub]:
    """A Hub shares blobs between its repositories; a push that really sends needs one of its own."""
    folder.mkdir()
    hub = Hub(folder / "data", folder / "log")
    try:
        yield hub
    finally:
        hub.close()
        shutil.rmtree(folder)


@contextmanager
def of_erofs(bench: Bench) -> Iterator[list[Engine]]:
    """A second server of ours, whose layers are EROFS files; none where the kernel doesn't mount them."""
    folder = bench.folder / "erofs"
    folder.mkdir()
    try:
        erofs.check_usable()
    except InvalidParameter as error:
        print(f"left out: kist erofs: {error.message}", file=sys.stderr)
        yield []
        return
    daemon = Daemon(folder, settings='[storage]\ndriver = "erofs"\n')
    try:
        yield [Engine("kist erofs", [str(KIST)], daemon.env)]
    finally:
        daemon.close()


def archive(path: Path, count: int) -> None:
    """*count* images that differ in their configuration only, as `docker save` writes them."""
    layer = _tar({"file": b"bench"})
    files: dict[str, bytes] = {"layer.tar": layer}
    manifest = []
    for number in range(count):
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": {"number": str(number)}},
                             "created": f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
                             "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
                             "history": [{"created_by": "bench"}]}).encode()
        name = f"{hashlib.sha256(config).hexdigest()}.json"
        files[name] = config
        manifest.append({"Config": name, "RepoTags": [f"bench/{number}:1"], "Layers": ["layer.tar"]})
    path.write_bytes(_tar(files | {"manifest.json": json.dumps(manifest).encode()}))


def _tar(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as writer:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            writer.addfile(info, io.BytesIO(content))
    return data.getvalue()


def listing(bench: Bench, results: Any, engine: Engine, repetition: int, count: int = 200) -> None:
    """`images` with that many of them."""
    path = bench.folder / f"images-{count}.tar"
    if not path.exists():
        archive(path, count)
    with path.open("rb") as file:
        engine.time("load", "-q", stdin=file.fileno())
    for _ in range(3):
        results.add(f"images, {count} of them, ms", engine.name, engine.time("images"))
    engine.time("rmi", *(f"bench/{number}:1" for number in range(count)))


def cycle(bench: Bench, results: Any, engine: Engine, repetition: int) -> None:
    """One life of the image in one engine."""
    plain = ("--tls-verify=false",) if engine.name.startswith("podman") else ()
    try:
        engine.time("rmi", "-f", IMAGE)
    except Failed:
        pass  # it wasn't there
    os.sync()  # nobody pays for what another one wrote
    results.add("pull, cold, ms", engine.name, engine.time("pull", "-q", *plain, IMAGE))
    results.add("first run of it, ms", engine.name, engine.time("run", "--rm", IMAGE, "true"))
    with empty_hub(bench.folder / f"push-{engine.name}-{repetition}") as hub:
        target = f"{hub.host}/bench/image:1"
        engine.time("tag", IMAGE, target)
        results.add("push to an empty Hub, ms", engine.name, engine.time("push", "-q", *plain, target))
        engine.time("rmi", target)
    results.add("rmi, ms", engine.name, engine.time("rmi", IMAGE))
