"""Making the bundle that start.py reads: the command's modules as one file.

    8 bytes    the length of the index (little-endian)
    index      marshal of (sys.version, the codes' length,
               {module: (source, its mtime in ns, its size, is it a package, begin, end)})
    codes      a marshal for each, at [begin:end]

The code is what Python's own cache has, or would have. Published by rename; whoever may not write here does without.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib_external import PathFinder, SourceFileLoader

from kist.runtime.start import BUNDLE, BUNDLED, PACKAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kist.runtime.start import Modules

# The standard library's that the command needs and the interpreter doesn't have built in.
_STANDARD = ("__future__", "ctypes", "ctypes._endian", "struct", "tty", "types")


def make() -> None:
    """Write it, if this user may."""
    directory = os.path.dirname(BUNDLE)
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
        return
    content = pack({name: _module(name, source) for name, source in _sources()})
    staging = f"{BUNDLE}.{os.getpid()}"
    try:
        with open(staging, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # what a crash leaves is whole, or isn't there
        os.replace(staging, BUNDLE)
    except OSError:  # no space, or somebody was here with the same pid and died
        try:
            os.unlink(staging)
        except OSError:
            pass


def pack(modules: dict[str, tuple[str, int, int, bool, bytes]], python: str = sys.version) -> bytes:
    index: Modules = {}
    size = 0
    for name, (source, mtime, length, package, code) in modules.items():
        index[name] = source, mtime, length, package, size, size + len(code)
        size += len(code)
    head = marshal.dumps((python, size, index))
    return b"".join((len(head).to_bytes(8, "little"), head, *(module[4] for module in modules.values())))


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
