"""The examples of docs/sdk.md run, as they are written there."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import kist
from support import needs
from support.daemon import ROOT, Daemon
from support.processes import ENVIRONMENT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/sdk.md").read_text(), re.DOTALL)
SCRIPTS = [block for block in BLOCKS if "def test_" not in block and "unix:///run" not in block]
TESTS = [block for block in BLOCKS if "def test_" in block]


def import_redis(k: kist.client.Kist) -> None:
    """An image `redis` of the programs that are installed here, with the libraries that they need."""
    needs.program("redis-server")
    programs = ["/usr/bin/redis-server", "/usr/bin/redis-cli"]
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", dereference=True) as tar:
        for name in sorted({*programs, *re.findall(r"(?:=> |^\t)(/\S+)", listed, re.MULTILINE)}):
            tar.add(name)
    changes = ['CMD ["redis-server", "--protected-mode", "no", "--save", ""]']
    for _ in k.images.import_("-", repo="redis", tag="latest", changes=changes, tar=[packed.getvalue()]):
        pass


@pytest.fixture
def prepared(daemon: Daemon) -> Iterator[Daemon]:
    """With an image `redis`, for as long as the test takes."""
    with kist.connect(f"unix://{daemon.socket}") as k:
        import_redis(k)
    yield daemon
    daemon.ok("rmi", "redis")


def python(daemon: Daemon, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
                          env={**ENVIRONMENT, "KIST_HOST": f"unix://{daemon.socket}"})


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_an_example(prepared: Daemon, tmp_path: Path, script: str) -> None:
    done = python(prepared, "-c", script, cwd=tmp_path)
    assert done.returncode == 0, script + done.stdout + done.stderr
    assert prepared.ok("ps", "-aq") == ""


def test_the_examples_are_typed(tmp_path: Path) -> None:
    for number, script in enumerate(SCRIPTS):
        (tmp_path / f"example{number}.py").write_text(script)
    words = ["--strict", "--cache-dir", str(tmp_path / "cache"), str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "mypy", *words], capture_output=True, text=True, timeout=120,
                          check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_of_tests(prepared: Daemon, tmp_path: Path) -> None:
    for number, block in enumerate(TESTS):
        (tmp_path / f"test_{number}.py").write_text(block)
    done = python(prepared, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert prepared.ok("ps", "-aq") == ""


def test_there_are_examples() -> None:
    assert len(SCRIPTS) >= 5 and len(TESTS) == 1
