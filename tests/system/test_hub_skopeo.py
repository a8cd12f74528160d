"""The Hub as its own process, with other people's clients: skopeo, and SIGTERM, and SIGKILL."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.hub import Hub
from support.processes import ENVIRONMENT, PYTHON

OCI = "application/vnd.oci.image."


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path / "hub", tmp_path / "hub.log")
    yield hub
    hub.close()


def skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, timeout=60, check=False,
                          env={**ENVIRONMENT, "XDG_RUNTIME_DIR": "/nonexistent"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def layout(folder: Path, tag: str = "latest") -> Path:
    """An OCI layout with one image of two layers, made by hand."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": OCI + kind, "digest": f"sha256:{digest}", "size": len(data)}

    tars = [_tar({"etc/motd": b"hello\n", "bin/app": os.urandom(200_000)}), _tar({"etc/motd": b"changed\n"})]
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/app"]}, "rootfs": {
        "type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]}}
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                "config": blob(json.dumps(config).encode(), "config.v1+json"),
                "layers": [blob(gzip.compress(tar, mtime=0), "layer.v1.tar+gzip") for tar in tars]}
    entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def digest_of(folder: Path) -> str:
    return str(json.loads((folder / "index.json").read_text())["manifests"][0]["digest"])


def test_a_round_trip_by_skopeo(hub: Hub, tmp_path: Path) -> None:
    source = layout(tmp_path / "in")
    target = f"docker://{hub.host}/team/app"
    skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", f"oci:{source}:latest", f"{target}:v1")
    skopeo("copy", "--dest-tls-verify=false", f"oci:{source}:latest", f"{target}:v2")
    inspected = json.loads(skopeo("inspect", "--tls-verify=false", f"{target}:v1"))
    assert inspected["Digest"] == digest_of(source)
    assert inspected["RepoTags"] == ["v1", "v2"]
    assert json.loads(skopeo("list-tags", "--tls-verify=false", target))["Tags"] == ["v1", "v2"]
    skopeo("copy", "--src-tls-verify=false", "--preserve-digests", f"{target}@{digest_of(source)}",
           f"oci:{tmp_path / 'out'}:latest")
    assert digest_of(tmp_path / "out") == digest_of(source)
    for blob in (source / "blobs" / "sha256").iterdir():
        assert (tmp_path / "out" / "blobs" / "sha256" / blob.name).read_bytes() == blob.read_bytes()
    # Across repositories: blobs are mounted, Docker's formats are converted to and taken.
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format=v2s2", f"{target}:v1",
           f"docker://{hub.host}/other/app:docker")
    skopeo("delete", "--tls-verify=false", f"{target}:v1")  # by digest: v2 goes, too
    with pytest.raises(AssertionError, match=r"name unknown|repository name not known|manifest unknown"):
        skopeo("inspect", "--tls-verify=false", f"{target}:v2")
    assert "docker" in skopeo("list-tags", "--tls-verify=false", f"docker://{hub.host}/other/app")


def index_layout(folder: Path) -> str:
    """Two images of two platforms behind one index, tagged latest; the index' digest."""
    one, two = layout(folder), layout(folder.with_name(f"{folder.name}-arm"))
    blobs = folder / "blobs" / "sha256"
    for blob in (two / "blobs" / "sha256").iterdir():
        (blobs / blob.name).write_bytes(blob.read_bytes())
    entries = []
    for image, architecture in ((one, "amd64"), (two, "arm64")):
        (entry,) = json.loads((image / "index.json").read_text())["manifests"]
        entry.pop("annotations")
        entries.append(entry | {"platform": {"os": "linux", "architecture": architecture}})
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries}).encode()
    digest = hashlib.sha256(index).hexdigest()
    (blobs / digest).write_bytes(index)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": OCI + "index.v1+json", "digest": f"sha256:{digest}", "size": len(index),
        "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}))
    return f"sha256:{digest}"


def test_all_platforms_by_skopeo_copy_and_whole_repositories_by_sync(hub: Hub, tmp_path: Path) -> None:
    digest = index_layout(tmp_path / "in")
    target = f"docker://{hub.host}/team/multi"
    skopeo("copy", "--all", "--dest-tls-verify=false", "--preserve-digests", f"oci:{tmp_path / 'in'}:latest",
           f"{target}:v1")
    raw = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"{target}:v1"))
    assert [entry["platform"]["architecture"] for entry in raw["manifests"]] == ["amd64", "arm64"]
    skopeo("copy", "--all", "--src-tls-verify=false", "--preserve-digests", f"{target}:v1",
           f"oci:{tmp_path / 'out'}:v1")
    assert digest_of(tmp_path / "out") == digest
    skopeo("copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", f"{target}:v1", f"{target}:v2")
    skopeo("sync", "--all", "--src-tls-verify=false", "--src", "docker", "--dest", "dir", f"{hub.host}/team/multi",
           str(tmp_path / "synced"))
    assert {path.name for path in (tmp_path / "synced").iterdir()} == {"multi:v1", "multi:v2"}
    skopeo("sync", "--all", "--dest-tls-verify=false", "--src", "dir", "--dest", "docker", str(tmp_path / "synced"),
           f"{hub.host}/copy")
    assert json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{hub.host}/copy/multi"))["Tags"] == [
        "v1", "v2"]


def test_kill_and_start_again(hub: Hub, tmp_path: Path) -> None:
    source = layout(tmp_path / "in")
    target = f"docker://{hub.host}/app:v1"
    skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", f"oci:{source}:latest", target)
    hub.process.kill()
    hub.process.wait(10)
    again = Hub(hub.data, hub.log)
    try:
        found = skopeo("inspect", "--tls-verify=false", f"docker://{again.host}/app:v1")
        assert json.loads(found)["Digest"] == digest_of(source)
    finally:
        again.close()


def test_sigterm_ends_it_cleanly_and_the_access_log_is_json(hub: Hub) -> None:
    with urllib.request.urlopen(f"{hub.url}/healthz", timeout=10) as answer:
        assert answer.read() == b"ok\n"
    hub.process.send_signal(signal.SIGTERM)
    assert hub.process.wait(20) == 0
    text = hub.log.read_text()
    assert "Traceback" not in text
    entry = next(json.loads(line) for line in text.splitlines() if '"/healthz"' in line)
    assert (entry["method"], entry["status"], entry["sent"]) == ("GET", 200, 3)


def test_a_unix_socket_for_owner_and_group(tmp_path: Path) -> None:
    import socket
    import time

    path = tmp_path / "hub.sock"
    process = subprocess.Popen([PYTHON, "-m", "kist.hub", "--data", str(tmp_path / "d"), "--uds", str(path)],
                               env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        with socket.socket(socket.AF_UNIX) as client:
            while client.connect_ex(str(path)):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
            assert path.stat().st_mode & 0o777 == 0o660
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize(("arguments", "words"), [
    (["--listen", "nonsense"], "invalid listen address"), (["--config", "/nonexistent"], "No such file")])
def test_wrong_options_are_told(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = subprocess.run([PYTHON, "-m", "kist.hub", "--data", str(tmp_path), *arguments], env=ENVIRONMENT,
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 125
    assert words in done.stderr
    assert "Traceback" not in done.stderr
