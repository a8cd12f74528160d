"""What the launcher loads is pinned: each module is start-up time, and memory that every monitor's fork maps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"

# json brings re, socket and signal bring enum; nothing else of that size may come in.
_LIST = """
_collections _collections_abc _ctypes _functools _json _operator _sha256 _socket _sre _stat _struct
__future__ array collections collections.abc copyreg ctypes ctypes._endian enum errno fcntl functools gc genericpath
itertools json json.decoder json.encoder json.scanner keyword math operator os os.path posixpath
re re._casefix re._compiler re._constants re._parser reprlib select selectors signal socket stat struct termios types
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
    full = loaded("sys.path.insert(0, sys.argv[1])\nfrom kist.launcher import __main__, server")
    new = {name for name in full - bare if not name.startswith("kist")}
    assert new <= PINNED, f"new: {sorted(new - PINNED)}"
    assert new >= {"json", "select", "socket"}


def test_only_the_packages_below_it_are_loaded() -> None:
    full = loaded("sys.path.insert(0, sys.argv[1])\nfrom kist.launcher import server")
    packages = {".".join(name.split(".")[:2]) for name in full if name.startswith("kist.")}
    assert packages <= {"kist.api", "kist.errors", "kist.launcher", "kist.linux", "kist.runtime"}
    assert not full & {"kist.launcher.client", "kist.launcher.cleanup"}  # the engine's
