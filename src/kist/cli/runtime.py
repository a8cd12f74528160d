"""`kist oci`: this process becomes the runtime's command. Imports nothing: Podman's calls wait for it."""

from __future__ import annotations

import os
import sys

SEALERS = "/var/cache/kist/runtime"  # runtime/sealer.py


def become(words: list[str]) -> None:
    """By the sealer of kist-runtime, which is installed beside this command, if there is one, else by an interpreter
    that reads no site directories. `--script` comes from kist-runtime: it has no sealer, or one no longer true."""
    if words[:1] != ["--script"]:
        script = f"{os.path.dirname(os.path.realpath(sys.argv[0]))}/kist-runtime"
        sealer = f"{SEALERS}{script}"
        if os.path.isfile(sealer) and os.access(sealer, os.X_OK):
            os.execv(sealer, [script, *words])
        if os.path.isfile(script):
            words = ["--script", script, *words]
    import kist

    start = f"{kist.__path__[0]}/runtime/start.py"
    os.execv(sys.executable, [sys.executable, "-I", "-S", start, *words])
