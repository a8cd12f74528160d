"""What is made after the holes are filled lies side by side. In an interpreter of its own, as the launcher's is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"

_HOLES = """
import sys
sys.path.insert(0, sys.argv[1])
from kist.launcher import memory
many = [bytes(200) for _ in range(3000)]
del many[::7]
if sys.argv[2] == "filled":
    memory.fill_holes()
made = [bytes(200) for _ in range(12)]
print([id(one) // 4096 for one in made])
"""

_HEAP = """
import sys
sys.path.insert(0, sys.argv[1])
from kist.launcher import memory
from kist.linux import heap
many = [heap.malloc(600) for _ in range(500)]
for address in many[::9]:
    heap.free(address)
if sys.argv[2] == "filled":
    memory.fill_heap()
print([heap.malloc(200) // 4096 for _ in range(12)])
"""


def _pages(program: str, how: str) -> int:
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, str(SOURCE), how], capture_output=True, text=True,
                          check=True)
    return len(set(json.loads(done.stdout)))


def test_new_objects_lie_on_two_pages_at_most() -> None:
    assert _pages(_HOLES, "filled") <= 2
    assert _pages(_HOLES, "as they are") > 2


def test_what_malloc_gives_lies_on_two_pages_at_most() -> None:
    assert _pages(_HEAP, "filled") <= 2
    assert _pages(_HEAP, "as they are") > 2
