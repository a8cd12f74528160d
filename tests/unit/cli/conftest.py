from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.fake_engine import FakeEngine

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    made = FakeEngine(str(tmp_path / "engine.sock"))
    yield made
    made.close()


@pytest.fixture
def environment(engine: FakeEngine, tmp_path: Path) -> dict[str, str]:
    """What the command line sees; nothing of the developer's own settings."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KIST_HOST": engine.host, "DOCKER_HOST": engine.host,
            "LANG": "C.UTF-8", "FROM_OUTSIDE": "yes"}


@pytest.fixture
def kist(environment: dict[str, str]) -> Callable[..., Done]:
    """`kist("run", …)` in a process of its own: the finished process, its output as text."""
    def run(*words: str, stdin: str = "", **more: str) -> Done:
        return subprocess.run([sys.executable, "-m", "kist.cli", *words], input=stdin, capture_output=True, text=True,
                              env={**environment, **more}, timeout=30, check=False)

    return run
