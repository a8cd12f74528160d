"""Debian's own programs, run without a terminal and without asking anybody."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from kist.errors import EngineFailure, Unavailable


def need(program: str, package: str) -> str:
    """The program's path. Raises Unavailable, which names the package that has it."""
    path = shutil.which(program)
    if path is None:
        raise Unavailable(f"building library images needs `{program}`: apt-get install {package}")
    return path


def run(*args: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """What the program prints. Raises EngineFailure with its last words."""
    done = subprocess.run(args, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", check=False, umask=0o022)  # modes in an image are not the builder's
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-8:]
        raise EngineFailure(f"{Path(args[0]).name} failed with status {done.returncode}: " + "\n".join(last))
    return done.stdout
