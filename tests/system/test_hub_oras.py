"""Artifacts with somebody else's client (oras-py): files, chunks, subjects, signatures as cosign lays them out."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oras.client  # type: ignore[import-untyped]
import pytest

from support.hub import Hub
from support.processes import ENVIRONMENT, PYTHON
from system.test_hub_skopeo import layout

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, str]]:
    """A Hub with the user alice, who has an image `alice/app:v1`, and her access token."""
    folder = tmp_path_factory.mktemp("oras")
    data = folder / "data"
    admin = [PYTHON, "-m", "kist.hub", "admin", "--data", str(data)]
    subprocess.run([*admin, "user", "add", "alice"], input=b"correct horse battery", env=ENVIRONMENT, check=True)
    made = subprocess.run([*admin, "token", "add", "alice", "ci", "--level", "admin"], env=ENVIRONMENT, check=True,
                          capture_output=True, text=True)
    script = ("import sys; from pathlib import Path; from kist.hub.publish import publish\n"
              "publish(Path(sys.argv[1]), 'alice/app', 'v1', Path(sys.argv[2]))")
    source = layout(folder / "layout")
    subprocess.run([PYTHON, "-c", script, str(data), str(source)], env=ENVIRONMENT, check=True)
    hub = Hub(data, folder / "log", "--accounts", "--access-log", "")
    yield hub, made.stdout.split()[-1]
    hub.close()


@pytest.fixture
def client(secured: tuple[Hub, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    hub, token = secured
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # it leaves folders there
    monkeypatch.chdir(tmp_path)
    # Basic: its token way never asks for more than its first token opens, whatever the registry.
    found = oras.client.OrasClient(hostname=hub.host, insecure=True, auth_backend="basic")
    found.auth.set_basic_auth("alice", token)
    return found


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return json.load(answer)


def _digest(hub: Hub, tag: str) -> tuple[str, int]:
    with urllib.request.urlopen(f"{hub.url}/v2/alice/app/manifests/{tag}", timeout=20) as answer:
        return answer.headers["Docker-Content-Digest"], int(answer.headers["Content-Length"])


@pytest.mark.parametrize("chunked", [False, True], ids=["at once", "in chunks"])
def test_files_and_folders_come_back_as_they_were(client: Any, secured: tuple[Hub, str], *, chunked: bool) -> None:
    hub, _ = secured
    Path("model.bin").write_bytes(bytes(range(256)) * 400)
    Path("folder/sub").mkdir(parents=True)
    Path("folder/sub/note").write_text("ü")
    name = f"{hub.host}/alice/model{chunked:d}"
    pushed = client.push(
        target=f"{name}:v1", files=["model.bin:application/vnd.example.model", "folder"],
        manifest_annotations={"org.example": "yes"}, do_chunked=chunked, chunk_size=10_000, quiet=True)
    assert pushed.status_code == 201
    client.pull(target=f"{name}:v1", outdir="out")
    assert Path("out/model.bin").read_bytes() == Path("model.bin").read_bytes()
    assert Path("out/folder/sub/note").read_text() == "ü"
    assert client.get_tags(name) == ["v1"]
    assert client.get_manifest(f"{name}:v1")["annotations"]["org.example"] == "yes"
    client.delete_tags(name, "v1")
    with pytest.raises(ValueError, match="Not Found"):  # its manifest, too, which was the only one
        client.get_tags(name)


def _sign(client: Any, hub: Hub, reference: str, **more: Any) -> str:
    """A signature's manifest; its payload is what cosign signs. Returns its digest."""
    digest, size = _digest(hub, "v1")
    payload = json.dumps({"critical": {"identity": {"docker-reference": f"{hub.host}/alice/app"},
                                       "image": {"docker-manifest-digest": digest}, "type": "cosign"}}).encode()
    Path("payload").write_bytes(payload)
    Path("config").write_bytes(b"{}")
    container = client.get_container(f"{hub.host}/alice/app:{reference}")
    descriptors = []
    for name, kind in (("config", "application/vnd.oci.empty.v1+json"), ("payload", COSIGN)):
        data = Path(name).read_bytes()
        found = "sha256:" + hashlib.sha256(data).hexdigest()
        descriptors.append({"mediaType": kind, "digest": found, "size": len(data)})
        assert client.upload_blob(name, container, descriptors[-1]).status_code in (200, 201)  # 200: there already
    descriptors[1]["annotations"] = {"dev.cosignproject.cosign/signature": "MEUCIQ=="}
    if "artifactType" in more:
        more["subject"] = {"mediaType": MANIFEST, "digest": digest, "size": size}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptors[0], "layers": descriptors[1:], **more}
    answer = client.upload_manifest(manifest, container)
    assert answer.status_code == 201
    return str(answer.headers["Docker-Content-Digest"])


def test_signatures_by_tag_and_as_referrers(client: Any, secured: tuple[Hub, str]) -> None:
    hub, _ = secured
    digest, _ = _digest(hub, "v1")
    tag = f"{digest.replace(':', '-')}.sig"  # where cosign has looked since before there were referrers
    _sign(client, hub, tag)
    assert client.get_manifest(f"{hub.host}/alice/app:{tag}")["layers"][0]["mediaType"] == COSIGN
    assert _get(f"{hub.url}/v2/alice/app/referrers/{digest}")["manifests"] == []
    signed = _sign(client, hub, "signature", artifactType=SIGNATURE)
    query = f"artifactType={SIGNATURE.replace('+', '%2B')}"
    (found,) = _get(f"{hub.url}/v2/alice/app/referrers/{digest}?{query}")["manifests"]
    assert (found["digest"], found["artifactType"]) == (signed, SIGNATURE)
    with urllib.request.urlopen(f"{hub.url}/r/alice/app/-/image/v1", timeout=20) as page:
        assert "Signature (cosign)" in page.read().decode()


def test_who_may_not_push_is_told(secured: tuple[Hub, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, _ = secured
    monkeypatch.chdir(tmp_path)
    Path("x").write_text("x")
    anybody = oras.client.OrasClient(hostname=hub.host, insecure=True, auth_backend="token")
    with pytest.raises(ValueError, match=r"(?i)unauthorized|401|authentication"):
        anybody.push(target=f"{hub.host}/alice/app:evil", files=["x"], quiet=True)
