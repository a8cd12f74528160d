"""Debian's podman against the Hub: push, search, pull. No container is run."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.hub import Hub
from support.processes import ENVIRONMENT
from system.test_hub_skopeo import layout

Podman = Callable[..., str]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    hub = Hub(tmp_path / "hub", tmp_path / "hub.log")
    yield hub
    hub.close()


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    runroot = tempfile.mkdtemp(prefix="kt-pod-", dir="/run")  # podman wants it short
    places = [f"--root={tmp_path / 'root'}", f"--runroot={runroot}", "--storage-driver=vfs",
              "--cgroup-manager=cgroupfs", "--events-backend=none"]

    def run(*arguments: str) -> str:
        done = subprocess.run(["podman", *places, *arguments], capture_output=True, text=True, timeout=90, check=False,
                              env=ENVIRONMENT)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    yield run
    shutil.rmtree(runroot)


def test_push_search_and_pull(hub: Hub, podman: Podman, tmp_path: Path) -> None:
    podman("pull", "--quiet", f"oci:{layout(tmp_path / 'in')}:latest")
    image = podman("images", "--quiet", "--no-trunc")
    name = f"{hub.host}/team/app:v1"
    podman("push", "--tls-verify=false", image, f"docker://{name}")
    assert f"{hub.host}/team/app" in podman("search", "--tls-verify=false", f"{hub.host}/app")
    podman("rmi", "--all", "--force")
    assert podman("images", "--quiet") == ""
    podman("pull", "--quiet", "--tls-verify=false", name)
    assert podman("images", "--quiet", "--no-trunc") == image
