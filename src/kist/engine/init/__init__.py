"""`--init`: the container's first process, a program of 1 kB that forwards signals and reaps, made by Kist itself.

It is machine code that `program.py` writes down instruction by instruction and `linux/machine.py` encodes for this one:
nothing compiled has to be shipped or installed, and the process has no interpreter in it that somebody in the container
could reach (docs/decisions/init.md). Pure, but for `path`.
"""

from __future__ import annotations

import os

from kist.engine.init.program import program
from kist.linux.elf import executable
from kist.linux.machine import MACHINES


def image(machine: str) -> bytes | None:
    """The executable for uname's `machine`, None for one that Kist can't write code for."""
    kind = MACHINES.get(machine)
    return executable(program(kind())) if kind else None


def path(directory: str, machine: str) -> str | None:
    """The executable as a file in `directory`, made if it isn't there; None as above. Blocking."""
    content = image(machine)
    if content is None:
        return None
    name = f"{directory}/docker-init"
    if not _is(name, content):
        fresh = f"{name}.{os.getpid()}.{os.urandom(4).hex()}"
        with open(fresh, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o755)
        os.replace(fresh, name)
    return name


def _is(name: str, content: bytes) -> bool:
    try:
        with open(name, "rb") as file:
            return file.read(len(content) + 1) == content
    except FileNotFoundError:
        return False
