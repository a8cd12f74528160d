"""Making the bundle that start.py reads: the command's modules as one file.

    marshal of (sys.version, {module: (source, its mtime in ns, its size, is it a package, marshal of its code)})

The code is what Python's own cache has, or would have. Published by rename; whoever may not write here does without.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib_external import PathFinder, SourceFileLoader

from kist.runtime.start import BUNDLE, BUNDLED, PACKAGE

# The standard library's that the command needs and the interpreter doesn't have built in.
_STANDARD = ("__future__", "ctypes", "ctypes._endian", "struct", "tty", "types")


def make() -> None:
    """Write it, if this user may."""
    directory = os.path.dirname(BUNDLE)
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        return
    modules = {name: _module(name, source) for name, source in _sources()}
    staging = f"{BUNDLE}.{os.getpid()}"
    try:
        with open(staging, "xb") as file:
            file.write(marshal.dumps((sys.version, modules)))
        os.replace(staging, BUNDLE)
    except OSError:  # no space, or somebody was here with the same pid and died
        try:
            os.unlink(staging)
        except OSError:
            pass


def _sources() -> list[tuple[str, str]]:
    found = [("kist", f"{PACKAGE}/__init__.py"), ("kist.version", f"{PACKAGE}/version.py")]
    for package in BUNDLED:
        top = f"{os.path.dirname(PACKAGE)}/{package.replace('.', '/')}"
        for directory, _directories, files in os.walk(top):
            inner = package + directory.removeprefix(top).replace("/", ".")
            found += [(f"{inner}.{name[:-3]}".removesuffix(".__init__"), f"{directory}/{name}")
                      for name in files if name.endswith(".py")]
    for name in _STANDARD:
        path = None if "." not in name else [os.path.dirname(dict(found)[name.rpartition(".")[0]])]
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            found.append((name, spec.origin))
    return found


def _module(name: str, source: str) -> tuple[str, int, int, bool, bytes]:
    """The file's marks are taken before its text: what changes in between makes the entry stale, not wrong."""
    info = os.stat(source)
    code = SourceFileLoader(name, source).get_code(name)
    return source, info.st_mtime_ns, info.st_size, source.endswith("/__init__.py"), marshal.dumps(code)
