"""How the command's interpreter gets going: sealed where that is called for, its modules from one file.

    kist-runtime run …
      └─ execve ─▶ the sealer       (runtime/sealer.py) or, where there is none, an interpreter: it seals, and is gone
           └─ execve ─▶ start.pyc   on a read-only mount (linux/sealed.py)
                          └─ bundle ─▶ __main__ ─▶ the verb

The bundle is a cache beside the sources, as Python's own are, and trusted as they are: one open and one read in place
of a thousand system calls. A module whose source is not as it was then comes from its file, and the bundle is made
anew when the command is done (runtime/bundle.py).
"""

import gc
import marshal
import os
import sys
from _frozen_importlib import ModuleSpec  # what `importlib.machinery` has, which takes longer to import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    Modules = dict[str, tuple[str, int, int, bool, int, int]]  # bundle.py

_HERE = os.path.dirname(os.path.abspath(__file__)).removesuffix("/__pycache__")
SOURCE = f"{_HERE}/start.py"
PACKAGE = os.path.dirname(_HERE)
ENTER_CONTAINERS = frozenset(("create", "exec", "run"))
BUNDLE = f"{_HERE}/__pycache__/modules.{sys.implementation.cache_tag}"
BUNDLED = ("kist.runtime", "kist.linux")  # with all below them


class Bundle:
    """A finder and loader of modules (importlib's protocols)."""

    def __init__(self, modules: "Modules", codes: memoryview) -> None:
        self.modules = modules
        self.codes = codes
        self.stale = False

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "ModuleSpec | None":
        source, mtime, size, package, _begin, _end = self.modules.get(name, ("", 0, 0, False, 0, 0))
        try:
            info = os.stat(source)
        except OSError:
            info = None
        if info is None or info.st_mtime_ns != mtime or info.st_size != size:
            self.stale = self.stale or bool(source) or name.startswith(BUNDLED)
            return None
        spec = ModuleSpec(name, self, origin=source, is_package=package)  # type: ignore[arg-type]
        spec.has_location = True
        if package:
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual one."""

    def exec_module(self, module: "ModuleType") -> None:
        *_, begin, end = self.modules[module.__name__]
        exec(marshal.loads(self.codes[begin:end]), module.__dict__)


def begin(words: list[str]) -> Bundle:
    """For a command line: sealed, with its modules at hand. In the unsealed interpreter it doesn't return."""
    gc.disable()  # what gets going here mostly ends before there is garbage worth looking for
    if not ENTER_CONTAINERS.isdisjoint(words):
        _seal(words)  # first: what is imported before is imported twice
    return _unpack()


def _unpack() -> Bundle:
    """Imports look into the bundle first from now on."""
    made = Bundle({}, memoryview(b""))
    try:
        with open(BUNDLE, "rb", buffering=0) as file:
            python, modules, codes = parts(file.readall())
        if python == sys.version:
            made = Bundle(modules, codes)
    except (OSError, EOFError, ValueError, TypeError):
        pass  # there is none, or it is no bundle
    sys.meta_path.insert(0, made)
    return made


def parts(data: bytes) -> "tuple[str, Modules, memoryview]":
    """Of a bundle (see bundle.py): the codes stay where they are until they are needed."""
    head = 8 + int.from_bytes(data[:8], "little")
    python, size, modules = marshal.loads(memoryview(data)[8:head])
    if len(data) != head + size:
        raise EOFError
    return python, modules, memoryview(data)[head:]


def _seal(words: list[str]) -> None:
    """Only root can; without privilege the interpreter could not be overwritten from a container either."""
    if os.geteuid() != 0 or os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:  # as `sealed.is_sealed`
        return
    from kist.linux.sealed import reexec

    reexec(sys.executable, ["-I", "-S", compiled_start(), *words])


def compiled_start() -> str:
    """This module's .pyc, if it is true to the source (PEP 3147's place, PEP 552's header): it needs no compiling."""
    from _frozen_importlib_external import MAGIC_NUMBER

    compiled = f"{_HERE}/__pycache__/start.{sys.implementation.cache_tag}.pyc"
    try:
        info = os.stat(SOURCE)
        with open(compiled, "rb", buffering=0) as file:
            header = file.read(16)
    except OSError:
        return SOURCE
    stamp = b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in (0, int(info.st_mtime), info.st_size))
    return compiled if header == MAGIC_NUMBER + stamp else SOURCE


def main() -> None:
    """Never returns."""
    words = sys.argv[1:]
    bundle = begin(words)
    from kist.runtime.__main__ import main

    main(words, bundle)


if __name__ == "__main__":
    sys.path.append(os.path.dirname(PACKAGE))
    main()
