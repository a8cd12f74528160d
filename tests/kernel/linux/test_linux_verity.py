"""fs-verity on an ext4 of the test's own (Debian's kernels have it; some others don't): the wrappers, and the store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize("what", ["seal", "store"])
def test_the_kernel_keeps_what_was_sealed(tmp_path: Path, what: str) -> None:
    device, place = tmp_path / "disk", tmp_path / "place"
    place.mkdir()
    with device.open("wb") as file:
        file.truncate(160 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "verity", "-b", "4096", device], check=True)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, TESTS / "support/verity_disk.py",
         device, place, what], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}:{os.environ.get('PYTHONPATH', '')}"})
    assert done.returncode == 0, done.stdout + done.stderr
    if done.stdout.startswith("lacking: "):
        pytest.skip(done.stdout.strip())    # no set-up gives a kernel what it lacks; `make test-vm` has Debian's
    assert done.stdout == "whole\n"
