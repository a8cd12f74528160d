"""Images: pull into a cold cache, the first run, push to a registry that has nothing of it, removal.

The image is $BENCH_IMAGE, in a registry on loopback: the peers' (`debian-python:bench`, 51 + 78 MB of gzip, 13,000
files, 323 MB unpacked) unless another one is told. What is pushed goes to the benchmark's own Hub.
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines import Bench, Engine, Failed

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
