"""What --format says, for good templates and bad ones: recorded from docker 28.2, byte for byte.

`template_words.json` holds the server's answers, and for each command line the status, stdout and stderr of docker.
Where that command is installed, it is asked some of them again.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kist.cli.__main__ import run
from kist.cli.settings import Settings
from support import needs
from support.daemon import docker_command
from support.fake_engine import FakeEngine

RECORD = json.loads((Path(__file__).parent / "template_words.json").read_text())
SAID = RECORD["said"]
PARTS = 4


@pytest.fixture(autouse=True)
def _answers(engine: FakeEngine) -> None:
    engine.answers = {("GET", path): (200, value) for path, value in RECORD["answers"].items()}


@pytest.mark.parametrize("part", range(PARTS))
def test_kist_says_what_docker_said(part: int, environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for words, *expected in SAID[part::PARTS]:
        status = run(words, Settings(environment, 0))
        assert [status, *capsys.readouterr()] == expected, words


@needs.docker_28
@pytest.mark.parametrize("part", range(PARTS))
def test_docker_still_says_so(part: int, environment: dict[str, str]) -> None:
    for words, *expected in SAID[part::PARTS * 4]:
        done = subprocess.run([docker_command(), *words], capture_output=True, text=True, env=environment, timeout=30,
                              stdin=subprocess.DEVNULL, check=False)
        assert [done.returncode, done.stdout, done.stderr] == expected, words
