from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "kist_fake_engine"
if NAME not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        NAME, Path(__file__).parents[1] / "client" / "fake_engine.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])


@pytest.fixture
def engine(tmp_path):
    made = sys.modules[NAME].FakeEngine(str(tmp_path / "engine.sock"))
    yield made
    made.close()


@pytest.fixture
def environment(engine, tmp_path):
    """What the command line sees; nothing of the developer's own settings."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KIST_HOST": engine.host, "DOCKER_HOST": engine.host,
            "LANG": "C.UTF-8", "HOSTNAME_TEST": "from-outside"}


@pytest.fixture
def kist(environment):
    """`kist("run", …)` in a process of its own: the finished process, its output as text."""
    def run(*words, stdin="", **more):
        return subprocess.run([sys.executable, "-m", "kist.cli", *words], input=stdin, capture_output=True, text=True,
                              env={**environment, **more}, timeout=30, check=False)

    return run
