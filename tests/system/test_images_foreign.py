"""Non-distributable ("foreign") layers: not uploaded on a push, taken from the registry or not at all on a pull."""

from __future__ import annotations

import gzip
import json
import tarfile
import urllib.error
import urllib.request

import pytest

from support.daemon import Daemon
from support.hub import Hub
from support.liar import Image, digest, tar_of

FOREIGN = ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
           "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
URL = "http://127.0.0.1:9/layer\x1b[31m"


def send(method: str, url: str, data: bytes = b"", kind: str = "application/octet-stream") -> tuple[int, str]:
    """The status and the Location."""
    request = urllib.request.Request(url, data or None, {"Content-Type": kind}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers.get("Location", "")
    except urllib.error.HTTPError as error:
        return error.code, ""


def publish(hub: Hub, repository: str, image: Image) -> None:
    """The image with all of its blobs, whatever their kind."""
    base = f"{hub.url}/v2/{repository}"
    for blob in (image.config, image.layer):
        status, location = send("POST", f"{base}/blobs/uploads/")
        assert status == 202
        joint = "&" if "?" in location else "?"
        url = location if "://" in location else hub.url + location
        assert send("PUT", f"{url}{joint}digest={digest(blob)}", blob)[0] == 201
    assert send("PUT", f"{base}/manifests/1", image.manifest, json.loads(image.manifest)["mediaType"])[0] == 201


@pytest.mark.parametrize("kind", FOREIGN, ids=["oci", "docker"])
@pytest.mark.parametrize("program", ["docker", "kist"])
def test_push_skips_it_and_pull_says_where_it_is(daemon: Daemon, hub: Hub, program: str, kind: str) -> None:
    command = getattr(daemon, program)
    entry = tarfile.TarInfo("made")
    tar = tar_of((entry, f"{program} {kind}".encode()))
    image = Image(tar, packed=gzip.compress(tar, mtime=0), claimed={"mediaType": kind, "urls": [URL]})
    here, there = (f"foreign/{program}-{kind[12:18]}-{which}".replace(".", "-") for which in ("here", "there"))
    publish(hub, here, image)
    assert command("pull", "-q", f"{hub.host}/{here}:1").returncode == 0  # this registry has it
    daemon.ok("tag", f"{hub.host}/{here}:1", f"{hub.host}/{there}:1")
    pushed = command("push", f"{hub.host}/{there}:1")
    assert pushed.returncode == 0, pushed.stderr
    short = digest(tar)[7:19]
    assert f"{short}: Skipped foreign layer" in pushed.stdout
    assert f"1: digest: {digest(image.manifest)} size: {len(image.manifest)}" in pushed.stdout
    blobs = f"{hub.url}/v2/{there}/blobs"
    assert send("HEAD", f"{blobs}/{digest(image.config)}")[0] == 200
    assert send("HEAD", f"{blobs}/{digest(image.layer)}")[0] == 404
    daemon.ok("rmi", f"{hub.host}/{here}:1", f"{hub.host}/{there}:1")
    refused = command("pull", "-q", f"{hub.host}/{there}:1")
    assert refused.returncode == 1
    assert "is non-distributable, and is fetched from the registry only; its manifest says http://127.0.0.1:9/layer" \
        in refused.stderr
    assert "\x1b" not in refused.stderr


def test_one_without_a_place_is_pushed(daemon: Daemon, hub: Hub) -> None:
    """Without URLs nobody else could have it (moby's rule, distribution/push_v2.go)."""
    tar = tar_of((tarfile.TarInfo("made"), b"without"))
    image = Image(tar, claimed={"mediaType": FOREIGN[0]})
    publish(hub, "foreign/without", image)
    names = f"{hub.host}/foreign/without:1", f"{hub.host}/foreign/copy:1"
    daemon.ok("pull", "-q", names[0])
    daemon.ok("tag", *names)
    assert "Skipped" not in daemon.ok("push", names[1])
    assert send("HEAD", f"{hub.url}/v2/foreign/copy/blobs/{digest(image.layer)}")[0] == 200
    daemon.ok("rmi", *names)
