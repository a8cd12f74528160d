from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("kist_fake_engine", Path(__file__).with_name("fake_engine.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
fake_engine = sys.modules.get("kist_fake_engine")
if fake_engine is None:
    fake_engine = importlib.util.module_from_spec(_SPEC)
    sys.modules["kist_fake_engine"] = fake_engine
    _SPEC.loader.exec_module(fake_engine)


@pytest.fixture
def engine(tmp_path):
    made = fake_engine.FakeEngine(str(tmp_path / "engine.sock"))
    yield made
    made.close()
