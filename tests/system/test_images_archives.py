"""Images as files: between Docker's archives, OCI layouts, skopeo and Kist; run straight from a file."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import needs
from support.daemon import Daemon


@pytest.fixture
def app(daemon: Daemon, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An image of two layers with a start-up command, its id, and its archive; not in the cache."""
    box = daemon.ok("create", "busybox", "sh", "-c", "echo from the file > /app")
    daemon.ok("start", "-a", box)
    id = daemon.ok("commit", "-c", 'CMD ["cat", "/app"]', box, "app:1")
    daemon.ok("rm", box)
    path = tmp_path / "app.tar"
    daemon.ok("save", "-o", str(path), "app:1")
    daemon.ok("rmi", "app:1")
    yield id, path
    daemon.clean()
    daemon.kist("rmi", "-f", "app:1", "copied:1")


def test_run_from_a_single_file(daemon: Daemon, app: tuple[str, Path]) -> None:
    id, path = app
    done = daemon.kist("run", "--rm", "./app.tar", cwd=path.parent)
    assert (done.returncode, done.stdout) == (0, "from the file\n")
    assert daemon.kist("run", "--rm", str(path), "cat", "/app").stdout == "from the file\n"
    assert daemon.ok("inspect", "-f", "{{.Id}}", "app:1") == id


def test_what_is_no_image_or_more_than_one_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"hello\n" * 1000)
    assert daemon.kist("run", str(tmp_path / "bad.tar")).returncode == 125
    assert "no such file" in daemon.kist("run", "./nothing.tar", cwd=tmp_path).stderr
    daemon.ok("tag", "busybox", "two:1")
    daemon.ok("tag", "busybox", "two:2")
    daemon.ok("save", "-o", str(tmp_path / "two.tar"), "two:1", "two:2")
    done = daemon.kist("run", str(tmp_path / "two.tar"))
    assert "holds 2 images (two:1, two:2)" in done.stderr
    daemon.ok("rmi", "two:1", "two:2")


def test_docker_s_older_archives_load(daemon: Daemon, app: tuple[str, Path], tmp_path: Path) -> None:
    """As Docker before 25 wrote them: no index.json, layers as <id>/layer.tar, uncompressed."""
    id, path = app
    old = tmp_path / "old.tar"
    with tarfile.open(path) as source, tarfile.open(old, "w") as target:
        [entry] = json.load(source.extractfile("manifest.json"))  # type: ignore[arg-type]
        layers = []
        for number, layer in enumerate(entry["Layers"]):
            data = source.extractfile(layer)
            assert data is not None
            plain = subprocess.run(["gzip", "-dcf"], input=data.read(), stdout=subprocess.PIPE, check=True).stdout
            layers.append(f"{number:064x}/layer.tar")
            add(target, layers[-1], plain)
        config = source.extractfile(entry["Config"])
        assert config is not None
        add(target, f"{id[7:]}.json", config.read())
        add(target, "manifest.json", json.dumps(
            [{"Config": f"{id[7:]}.json", "RepoTags": ["app:1"], "Layers": layers}]).encode())
    assert daemon.docker("load", "-i", str(old)).stdout == "Loaded image: app:1\n"
    assert daemon.ok("inspect", "-f", "{{.Id}}", "app:1") == id
    assert daemon.ok("run", "--rm", "app:1") == "from the file"


@pytest.mark.skipif(shutil.which("skopeo") is None and "CI" not in os.environ, reason="needs skopeo")
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_skopeo_and_back(daemon: Daemon, app: tuple[str, Path], tmp_path: Path, kind: str) -> None:
    id, path = app
    copied = tmp_path / "copied.tar"
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{path}:app:1",
                    f"{kind}:{copied}:docker.io/library/copied:1"], check=True)
    done = daemon.docker("load", "-i", str(copied))
    assert (done.returncode, done.stdout) == (0, "Loaded image: copied:1\n")
    assert daemon.ok("run", "--rm", "copied:1") == "from the file"
    if kind == "docker-archive":  # skopeo writes another configuration for OCI
        assert daemon.ok("inspect", "-f", "{{.Id}}", "copied:1") == id


@needs.docker_28
def test_platforms_of_archives(daemon: Daemon, app: tuple[str, Path]) -> None:
    _, path = app
    daemon.ok("load", "-i", str(path))
    for command in (daemon.docker, daemon.kist):
        assert command("save", "--platform", "linux/amd64", "-o", str(path.parent / "y"), "app:1").returncode == 0
        done = command("save", "--platform", "linux/s390x", "-o", str(path.parent / "x"), "app:1")
        assert done.returncode == 1
        assert "does not match the specified platform (linux/s390x)" in done.stderr


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize(("kind", "words"), [
    ("null", "character device file"), ("pipe", "named pipe (FIFO)"), ("folder", "directory"),
    ("link", "symbolic link directly"),
])
@pytest.mark.parametrize("client", [needs.DOCKER_28, "kist"])
def test_an_archive_takes_the_place_of_no_device(daemon: Daemon, client: str, kind: str, words: str,
                                                 tmp_path: Path) -> None:
    """`save -o /dev/null` would leave a file there for everybody."""
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("null")
    before = os.lstat(tmp_path / kind)
    box = daemon.ok("create", "busybox")
    for what, args in (("save image", ("save", "busybox")), ("export container", ("export", box))):
        done = getattr(daemon, client)(*args, "-o", str(tmp_path / kind))
        assert (done.returncode, done.stderr) == (1, f"failed to {what}: cannot write to a {words}\n")
    assert os.lstat(tmp_path / kind) == before
    assert len(os.listdir(tmp_path)) == 4
