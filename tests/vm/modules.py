"""Kernel modules for the initramfs, and the two tables by which modprobe(8) finds them.

depmod(8) makes the tables where a kernel package is installed. Here it is only unpacked, and only some modules are
taken along: those named, and what they need.
"""

from __future__ import annotations

import lzma
import re
from functools import cache
from pathlib import Path


class Modules:
    """Those of one kernel package: ``directory`` is its lib/modules/RELEASE."""

    def __init__(self, directory: Path) -> None:
        self.release = directory.name
        self.files = {plain(path.name.split(".")[0]): path for path in directory.rglob("*.ko*")}
        self.chosen: dict[str, list[str]] = {}  # module → what it needs directly

    def choose(self, names: tuple[str, ...]) -> None:
        """With all that they need. What the package doesn't have is taken to be built in."""
        for name in map(plain, names):
            if name not in self.files or name in self.chosen:
                continue
            listed = self._info(name, "depends")
            softly = [word for text in self._info(name, "softdep") for word in text.split() if not word.endswith(":")]
            self.chosen[name] = [needed for text in listed for needed in map(plain, text.split(",")) if needed]
            self.choose((*self.chosen[name], *softly))

    def _info(self, name: str, field: str) -> list[str]:
        """modinfo(8)'s: NUL-terminated ``field=value`` in the section .modinfo."""
        found = re.findall(rb"\0" + field.encode() + rb"=([^\0]*)", content(self.files[name]))
        return [value.decode() for value in found]

    def needed(self, name: str) -> list[str]:
        """All that it needs, in modules.dep's order: what is loaded first comes last."""
        found: list[str] = []
        for direct in self.chosen[name]:
            for each in (direct, *self.needed(direct)) if direct in self.files else ():
                if each in found:
                    found.remove(each)
                found.append(each)
        return found

    def tables(self) -> dict[str, str]:
        """modules.dep and modules.alias (modules.dep(5))."""
        dependencies = "".join(f"{name}.ko: {' '.join(f'{each}.ko' for each in self.needed(name))}\n"
                               for name in sorted(self.chosen))
        aliases = "".join(f"alias {alias} {name}\n" for name in sorted(self.chosen)
                          for alias in self._info(name, "alias"))
        return {"modules.dep": dependencies, "modules.alias": aliases}


@cache
def content(path: Path) -> bytes:
    """The module itself; later releases of Debian compress it."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def plain(name: str) -> str:
    return name.strip().replace("-", "_")
