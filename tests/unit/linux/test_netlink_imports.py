"""The launcher loads these modules under `python -I -S`: their imports must stay few and cheap."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[3] / "src"
PROGRAM = """
import sys
import collections, ctypes, errno, fcntl, json, os, socket, struct
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import kist.linux.netlink, kist.linux.netlink.request, kist.linux.netlink.nfelements, kist.linux.nftables
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_netlink_and_nftables_load_nothing_beyond_the_launchers_list() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", "-c", PROGRAM, str(SOURCE)], capture_output=True, check=True)
    loaded = [name for name in json.loads(done.stdout) if name.partition(".")[0] not in ("kist", "__future__")]
    assert loaded == []
