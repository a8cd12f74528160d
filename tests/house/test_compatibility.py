"""docs/compatibility.md says what the tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_tables_say() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/compatibility.py", "--check"], check=False)
    assert done.returncode == 0, "docs/compatibility.md is old: make docs"
