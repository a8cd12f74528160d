"""What the launcher loads is pinned: each module is start-up time, and memory that every monitor's fork maps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"

# No regular expressions, no enumerations, no collections: the C modules below json, signal and socket do.
_LIST = """
_collections _collections_abc _ctypes _json _sha256 _socket _stat _struct
__future__ ctypes ctypes._endian errno fcntl gc genericpath itertools os os.path posixpath
select stat struct termios types
"""
PINNED = set(_LIST.split())


def loaded(program: str) -> set[str]:
    """The modules of ``python -I -S`` after the program."""
    output = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys\n{program}\nprint(*sys.modules)", str(SOURCE)],
        capture_output=True, text=True, check=True).stdout
    return set(output.split())


def test_the_launcher_loads_what_is_pinned_and_no_more() -> None:
    bare = loaded("")
    full = loaded("sys.path.insert(0, sys.argv[1])\nfrom kist.launcher import __main__, server\n"
                  "server._load_the_rest()")
    new = {name for name in full - bare if not name.startswith("kist")}
    assert new <= PINNED, f"new: {sorted(new - PINNED)}"
    assert new >= {"_json", "_socket", "select"}


def test_only_the_packages_below_it_are_loaded() -> None:
    full = loaded("sys.path.insert(0, sys.argv[1])\nfrom kist.launcher import server\n"
                  "server._load_the_rest()")
    packages = {".".join(name.split(".")[:2]) for name in full if name.startswith("kist.")}
    assert packages <= {"kist.api", "kist.errors", "kist.launcher", "kist.linux", "kist.runtime"}
    assert not full & {"kist.launcher.client", "kist.launcher.cleanup"}  # the engine's
