"""The command line without site directories, until a module is missing: they take a quarter of an interpreter's start.

    kist …                     (src/bin/kist, a shell script that finds interpreter and package)
      └─ python -S -P start.py …
           └─ the command      `kist` and the standard library, as a rule
                └─ import rich ─▶ MissingModules ─▶ site.main() ─▶ found where any Python would have found it

`PYTHONPATH`, the user's own site directory, `.pth` files: all count as they do without this, only later.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class MissingModules:
    """A finder of modules (importlib's protocol), to be asked when the others have found nothing."""

    def __init__(self) -> None:
        self._lock = RLock()  # a .pth file may import what isn't there
        self._begun = False

    def find_spec(self, name: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        if path is not None:
            return None  # a part of a package, which lies where the package does
        with self._lock:
            if not self._begun:
                self._begun = True
                import site

                site.main()
        for finder in [finder for finder in sys.meta_path if finder is not self]:
            if spec := finder.find_spec(name, None, target):
                return spec
        return None


def main() -> None:
    """Never returns."""
    packages = sys.path.pop()  # start.py put it there
    version = os.path.basename(os.path.dirname(packages))
    if version.startswith("python3.") and version != f"python3.{sys.version_info.minor}":
        # Another Python's. If this one has a Kist, too, it knows where; if not, it says so.
        os.execv(sys.executable, [sys.executable, "-P", "-m", "kist.cli", *sys.argv[1:]])
    sys.meta_path.append(MissingModules())
    from kist.cli import main

    main()
