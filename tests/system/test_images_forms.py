"""Forms that images come in: layers of zstd, several platforms, annotations; and what is no image."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support import needs
from support.daemon import Daemon
from support.hub import Hub

OCI = "application/vnd.oci.image"


@pytest.fixture
def own(make_daemon: Callable[..., Daemon]) -> Daemon:
    """The image has busybox' id and another manifest: it must not become other tests' busybox."""
    return make_daemon()


@pytest.fixture
def copied(own: Daemon, hub: Hub, tmp_path: Path) -> str:
    """busybox in the Hub with layers of zstd, as a repository of this test's."""
    needs.program("skopeo")
    name = f"{hub.host}/forms/{tmp_path.name.replace('_', '-').lower()}"
    done = own.command("skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format=oci",
                          "--dest-compress-format=zstd", f"docker://{hub.host}/library/busybox", f"docker://{name}:zstd")
    assert done.returncode == 0, done.stderr
    return name


def document(hub: Hub, path: str, reference: str) -> Any:
    request = urllib.request.Request(f"{hub.url}/v2/{path}/manifests/{reference}",
                                     headers={"Accept": f"{OCI}.manifest.v1+json, {OCI}.index.v1+json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def put(hub: Hub, path: str, reference: str, media_type: str, body: Any) -> Any:
    """Push a manifest; its descriptor."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{hub.url}/v2/{path}/manifests/{reference}", data, method="PUT",
                                     headers={"Content-Type": media_type})
    urllib.request.urlopen(request).close()
    return {"mediaType": media_type, "size": len(data), "digest": f"sha256:{hashlib.sha256(data).hexdigest()}"}


def test_layers_of_zstd(own: Daemon, hub: Hub, copied: str) -> None:
    path = copied.partition("/")[2]
    [layer] = document(hub, path, "zstd")["layers"]
    assert layer["mediaType"] == f"{OCI}.layer.v1.tar+zstd"
    own.ok("pull", "-q", f"{copied}:zstd")
    assert own.ok("run", "--rm", f"{copied}:zstd", "echo", "inflated") == "inflated"
    own.ok("tag", f"{copied}:zstd", f"{copied}:again")
    own.ok("push", "-q", f"{copied}:again")
    assert document(hub, path, "again") == document(hub, path, "zstd")
    own.ok("rmi", f"{copied}:zstd", f"{copied}:again")


def test_platforms_annotations_and_what_is_no_image(own: Daemon, hub: Hub, copied: str) -> None:
    path = copied.partition("/")[2]
    manifest = document(hub, path, "zstd") | {"annotations": {"org.example.note": "kept"}}
    ours = put(hub, path, "noted", f"{OCI}.manifest.v1+json", manifest)
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "annotations": {"org.example.all": "kept"},
             "manifests": [ours | {"platform": {"os": "linux", "architecture": "amd64"}},
                           ours | {"platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}]}
    top = put(hub, path, "index", f"{OCI}.index.v1+json", index)
    assert own.ok("pull", "-q", "--platform", "linux/amd64", f"{copied}:index") == f"{copied}:index"
    [shown] = json.loads(own.ok("image", "inspect", f"{copied}:index"))
    assert shown["RepoDigests"] == [f"{copied}@{top['digest']}"]
    own.ok("pull", "-q", f"{copied}@{top['digest']}")
    refused = own.kist("pull", "--platform", "linux/s390x", f"{copied}:index")
    assert refused.returncode == 1
    assert "no matching manifest for linux/s390x in the manifest list entries" in refused.stderr
    own.ok("tag", f"{copied}:index", f"{copied}:pushed")
    own.ok("push", "-q", f"{copied}:pushed")
    assert document(hub, path, "pushed")["annotations"] == {"org.example.note": "kept"}
    artifact = manifest | {"artifactType": "application/x-thing",
                           "config": manifest["config"] | {"mediaType": "application/x-thing"}}
    put(hub, path, "thing", f"{OCI}.manifest.v1+json", artifact)
    refused = own.kist("pull", f"{copied}:thing")
    assert (refused.returncode, refused.stderr) == (
        1, f"{copied}:thing is not an image, but application/x-thing\n")
