"""A power cut at any moment leaves a store that opens, has what it said it has, and nothing that isn't whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from kist.store.store import DRIVERS
from support import needs

TESTS = Path(__file__).parents[2]
ROUNDS = 4


@pytest.mark.parametrize("driver", DRIVERS)
def test_power_cuts(tmp_path: Path, driver: str) -> None:
    needs.storage_driver(driver)
    device, place = tmp_path / "disk", tmp_path / "place"
    place.mkdir()
    with device.open("wb") as file:
        file.truncate(192 << 20)
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    seed = random.randrange(1 << 32)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, TESTS / "support/powercut.py",
         device, place, str(seed), str(ROUNDS), driver], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"})
    if "failed to setup loop device" in done.stderr and "CI" not in os.environ:
        pytest.skip("no loop devices here")
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    assert done.stdout.count("whole: ") == ROUNDS
